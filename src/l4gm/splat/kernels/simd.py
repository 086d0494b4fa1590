"""Eight-lane vectors inside Numba, from LLVM's vector types.

Numba leaves loops over eight numbers scalar as soon as their body is large; these types make the
vectors explicit. LLVM maps them to whatever the machine has (for eight float32 one AVX register, or
two of SSE or NEON).

`float8` and `double8` values add, subtract, multiply and divide with the usual operators; a
`double8` also with a float64, which stands for itself in all lanes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _numba_intrinsic
from numba.extending import models, overload, register_model

LANES = 8

# Typed as anything: a type checker would see the typing context as an argument that callers miss.
intrinsic: Any = _numba_intrinsic

_FLAGS = ("contract", "nsz")
_F32, _F64 = ir.FloatType(), ir.DoubleType()
_I64, _I32, _I8, _I1 = (ir.IntType(bits) for bits in (64, 32, 8, 1))
_FLOATS, _DOUBLES, _INTS, _BITS = (ir.VectorType(kind, LANES) for kind in (_F32, _F64, _I32, _I1))
_SIGN_BIT = -(1 << 31)

# Adding this to a float rounds it to the nearest integer, in the low bits of the mantissa.
_ROUNDER = 1.5 * 2.0**23


class Vector8(types.Type):
    """Numba's type of eight lanes."""


float8, double8, mask8 = Vector8("Float8"), Vector8("Double8"), Vector8("Mask8")
_REPRESENTATION = {"Float8": _FLOATS, "Double8": _DOUBLES, "Mask8": _BITS}


@register_model(Vector8)
class _Vector8Model(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _REPRESENTATION[numba_type.name])


# Building blocks of the code generators


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [ir.Constant(_F32, float(np.float32(value)))] * LANES)


def _int_constant(value: int) -> ir.Constant:
    return ir.Constant(_INTS, [ir.Constant(_I32, value)] * LANES)


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _call_on_vectors(builder: Any, name: str, *vectors: Any) -> Any:
    """Call one of LLVM's own functions, lane by lane."""
    suffix = "f32" if vectors[0].type == _FLOATS else "f64"
    return _call(builder, f"llvm.{name}.v{LANES}{suffix}", vectors[0].type, *vectors)


def _multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    # fmuladd, not fma: without the instruction it becomes two operations instead of library calls.
    return _call_on_vectors(builder, "fmuladd", x, y, z)


def _element_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _vector_function(emit: Callable[..., Any], num_arguments: int, result: Any = None) -> Any:
    """An intrinsic from a function that emits its code; the result is of the last one's type."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return emit(builder, *values)

    def typed(*arguments: Any) -> Any:
        if not all(isinstance(argument, Vector8) for argument in arguments):
            return None
        return (arguments[-1] if result is None else result)(*arguments), generate

    return intrinsic(
        {
            1: lambda typingctx, x: typed(x),
            2: lambda typingctx, x, y: typed(x, y),
            3: lambda typingctx, x, y, z: typed(x, y, z),
        }[num_arguments]
    )


def _compare(symbol: str) -> Callable[..., Any]:
    return lambda builder, x, y: builder.fcmp_ordered(symbol, x, y)


def _choose(symbol: str) -> Callable[..., Any]:
    return lambda builder, x, y: builder.select(builder.fcmp_ordered(symbol, x, y), x, y)


def _set_sign(builder: Any, x: Any, mask: Any) -> Any:
    sign = builder.select(mask, _int_constant(_SIGN_BIT), _int_constant(0))
    return builder.bitcast(builder.or_(builder.bitcast(x, _INTS), sign), _FLOATS)


def _all_signs_set(builder: Any, x: Any) -> Any:
    negative = builder.icmp_signed("<", builder.bitcast(x, _INTS), _int_constant(0))
    bits = builder.bitcast(negative, _I8)
    return builder.icmp_unsigned("==", bits, ir.Constant(_I8, (1 << LANES) - 1))


def _exp2_coefficients(degree: int) -> list[float]:
    """Polynomial for 2^x on [-1/2, 1/2] of nearly least relative error (fit at Chebyshev nodes)."""
    nodes = 0.5 * np.cos((np.arange(4000) + 0.5) / 4000 * np.pi)
    powers = np.vander(nodes, degree + 1, increasing=True)
    values = np.exp2(nodes)
    solution = np.linalg.lstsq(powers / values[:, None], np.ones_like(values), rcond=None)[0]
    return [float(c) for c in solution]


_EXP2 = [_constant(c) for c in _exp2_coefficients(5)]  # relative error below 3e-7 in float32


def _exp2(builder: Any, x: Any) -> Any:
    shifted = builder.fadd(x, _constant(_ROUNDER))
    fraction = builder.fsub(x, builder.fsub(shifted, _constant(_ROUNDER)))
    # Estrin's scheme: one operation more than Horner's, but half as long a chain.
    square = builder.fmul(fraction, fraction)
    low, middle, high = (
        _multiply_add(builder, _EXP2[k + 1], fraction, _EXP2[k]) for k in (0, 2, 4)
    )
    result = _multiply_add(builder, _multiply_add(builder, high, square, middle), square, low)
    exponent = builder.shl(builder.bitcast(shifted, _INTS), _int_constant(23))
    return builder.bitcast(builder.add(builder.bitcast(result, _INTS), exponent), _FLOATS)


def _sum_lanes(builder: Any, x: Any) -> Any:
    kind = ir.FunctionType(_F32, [_F32, _FLOATS])
    name = f"llvm.vector.reduce.fadd.v{LANES}f32"
    reduce = cgutils.get_or_insert_function(builder.module, kind, name)
    # Here reassociation only means pairwise, always the same pairs.
    return builder.call(reduce, [ir.Constant(_F32, -0.0), x], fastmath=("reassoc", "nsz"))


# Operations on vectors. Comparisons are false where either side is not a number.

multiply_add = _vector_function(_multiply_add, 3)  # x * y + z
minimum = _vector_function(_choose("<"), 2)  # y where x is not a number
maximum = _vector_function(_choose(">"), 2)  # y where x is not a number
absolute = _vector_function(lambda b, x: _call_on_vectors(b, "fabs", x), 1)
square_root = _vector_function(lambda b, x: _call_on_vectors(b, "sqrt", x), 1)
floor = _vector_function(lambda b, x: _call_on_vectors(b, "floor", x), 1)
ceiling = _vector_function(lambda b, x: _call_on_vectors(b, "ceil", x), 1)
equal = _vector_function(_compare("=="), 2, mask8)
less_equal = _vector_function(_compare("<="), 2, mask8)
greater = _vector_function(_compare(">"), 2, mask8)
both = _vector_function(lambda b, x, y: b.and_(x, y), 2)
without = _vector_function(lambda b, x, y: b.and_(x, b.not_(y)), 2)  # x and not y
where = _vector_function(lambda b, mask, x, y: b.select(mask, x, y), 3)
mask_bits = _vector_function(  # one bit for each lane, the first lowest
    lambda b, mask: b.zext(b.bitcast(mask, _I8), _I64), 1, types.uint64
)

# On float8 only:
# 2^x for -126 <= x < 128; below that the result is arbitrary (never a trap).
exp2 = _vector_function(_exp2, 1)
# x with its sign bit set where the mask holds.
set_sign = _vector_function(_set_sign, 2, float8)
all_signs_set = _vector_function(_all_signs_set, 1, types.boolean)
# The sum of the eight lanes, always in the same order.
sum_lanes = _vector_function(_sum_lanes, 1, types.float32)


def _define_operator(symbol: Any, instruction: str) -> None:
    function = _vector_function(lambda b, x, y: getattr(b, instruction)(x, y, flags=_FLAGS), 2)

    @overload(symbol)
    def vector_operator(x, y):
        if isinstance(x, Vector8) and isinstance(y, Vector8):
            return lambda x, y: function(x, y)
        if x == double8 and y == types.float64:
            return lambda x, y: function(x, splat_double(y))
        if x == types.float64 and y == double8:
            return lambda x, y: function(splat_double(x), y)
        return None


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_symbol, _instruction)


# Making, loading and storing vectors


def _splat(builder: Any, value: Any, result: Any) -> Any:
    empty = ir.Constant(result, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_INTS, [0] * LANES))


@intrinsic
def splat(typingctx, value):
    """The same float32 in all lanes."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, arguments[0], _FLOATS)

    return float8(types.float32), generate


@intrinsic
def splat_double(typingctx, value):
    """The same float64 in all lanes."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, arguments[0], _DOUBLES)

    return double8(types.float64), generate


@intrinsic
def lane_numbers(typingctx):
    """0, 1, ... 7."""

    def generate(context, builder, signature, arguments):
        return ir.Constant(_FLOATS, [ir.Constant(_F32, float(i)) for i in range(LANES)])

    return float8(), generate


def _of_array(array: Any) -> tuple[Any, Any, int]:
    """Numba's and LLVM's vector type for an array's elements, and their size in bytes."""
    return (float8, _FLOATS, 4) if array.dtype == types.float32 else (double8, _DOUBLES, 8)


@intrinsic
def load(typingctx, array, index):
    """Eight elements of a contiguous 1-D array from one on; any alignment."""
    vector, representation, align = _of_array(array)

    def generate(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments)
        value = builder.load(builder.bitcast(pointer, representation.as_pointer()))
        value.align = align
        return value

    return vector(array, types.intp), generate


@intrinsic
def store(typingctx, array, index, value):
    """Write eight elements to a contiguous 1-D array from one on; any alignment."""
    vector, representation, align = _of_array(array)

    def generate(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments[:2])
        written = builder.store(arguments[2], builder.bitcast(pointer, representation.as_pointer()))
        written.align = align
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def store_rounded(typingctx, array, index, value):
    """Write eight floats, rounded to int32, to a contiguous 1-D array; |value| < 2^22."""

    def generate(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments[:2])
        shifted = builder.fadd(arguments[2], _constant(_ROUNDER))
        rounder = builder.bitcast(_constant(_ROUNDER), _INTS)
        rounded = builder.sub(builder.bitcast(shifted, _INTS), rounder)
        written = builder.store(rounded, builder.bitcast(pointer, _INTS.as_pointer()))
        written.align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, float8), generate


@intrinsic
def load_widened(typingctx, array, index):
    """Eight float32 of a contiguous 1-D array from one on, as float64."""

    def generate(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments)
        value = builder.load(builder.bitcast(pointer, _FLOATS.as_pointer()))
        value.align = 4
        return builder.fpext(value, _DOUBLES)

    return double8(array, types.intp), generate


def _fold(builder: Any, x: Any, y: Any, low: list[int], high: list[int]) -> Any:
    """The sum of two selections of lanes from x (0 to 7) and y (8 to 15)."""
    return builder.fadd(
        builder.shuffle_vector(x, y, ir.Constant(_INTS, low)),
        builder.shuffle_vector(x, y, ir.Constant(_INTS, high)),
    )


@intrinsic
def sum_lanes_of_eight(typingctx, a, b, c, d, e, f, g, h):
    """One vector with the lane sums of eight vectors; a transposition folded into the additions."""

    def generate(context, builder, signature, arguments):
        ones = [
            _fold(builder, x, y, [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15])
            for x, y in zip(arguments[::2], arguments[1::2], strict=True)
        ]
        low, high = (
            _fold(builder, x, y, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])
            for x, y in zip(ones[::2], ones[1::2], strict=True)
        )
        return _fold(builder, low, high, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])

    return float8(*[float8] * 8), generate


# Scalar instructions that Numba does not offer


@intrinsic
def count_trailing_zeros(typingctx, word):
    """Number of the lowest bit that is set in a uint64 that is not zero."""

    def generate(context, builder, signature, arguments):
        return _call(builder, "llvm.cttz.i64", _I64, arguments[0], ir.Constant(_I1, 1))

    return types.uint64(types.uint64), generate


@intrinsic
def prefetch_row(typingctx, array, row):
    """Ask for the first cache line of a row of a C-contiguous 2-D array."""

    def generate(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, view.strides)[0]
        start = builder.bitcast(view.data, _I8.as_pointer())
        pointer = builder.gep(start, [builder.mul(arguments[1], stride)])
        read, keep, data = (ir.Constant(_I32, n) for n in (0, 3, 1))
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, read, keep, data)
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def fetch_add(typingctx, counters, index):
    """Add one to an int64 counter shared by threads; returns what it held before."""

    def generate(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments)
        return builder.atomic_rmw("add", pointer, ir.Constant(_I64, 1), "monotonic")

    return types.int64(counters, types.intp), generate
