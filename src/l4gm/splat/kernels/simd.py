"""Eight-lane float32 vectors inside Numba, from LLVM's vector types.

Numba leaves loops over eight numbers scalar as soon as their body is large; these types make the
vectors explicit. LLVM maps them to whatever the machine has (two SSE or NEON registers, one AVX).

`Float8` values add, subtract, multiply and divide with the usual operators.
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
_F32, _I64, _I32, _I8, _I1 = ir.FloatType(), *(ir.IntType(bits) for bits in (64, 32, 8, 1))
_FLOATS = ir.VectorType(_F32, LANES)
_INTS = ir.VectorType(_I32, LANES)
_BITS = ir.VectorType(_I1, LANES)
_SIGN_BIT = -(1 << 31)

# Adding this to a float rounds it to the nearest integer, in the low bits of the mantissa.
_ROUNDER = 1.5 * 2.0**23


class Float8Type(types.Type):
    """Eight float32."""

    def __init__(self) -> None:
        super().__init__(name="Float8")


class Mask8Type(types.Type):
    """Eight booleans."""

    def __init__(self) -> None:
        super().__init__(name="Mask8")


float8 = Float8Type()
mask8 = Mask8Type()


@register_model(Float8Type)
class _Float8Model(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _FLOATS)


@register_model(Mask8Type)
class _Mask8Model(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _BITS)


# Building blocks of the code generators


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [ir.Constant(_F32, float(np.float32(value)))] * LANES)


def _int_constant(value: int) -> ir.Constant:
    return ir.Constant(_INTS, [ir.Constant(_I32, value)] * LANES)


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    # fmuladd, not fma: without the instruction it becomes two operations instead of library calls.
    return _call(builder, f"llvm.fmuladd.v{LANES}f32", _FLOATS, x, y, z)


def _element_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _vector_function(emit: Callable[..., Any], result: Any, arguments: tuple[Any, ...]) -> Any:
    """An intrinsic of one to three vectors from a function that emits its code."""
    signature = result(*arguments)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return emit(builder, *values)

    if len(arguments) == 1:
        return intrinsic(lambda typingctx, x: (signature, generate))
    if len(arguments) == 2:
        return intrinsic(lambda typingctx, x, y: (signature, generate))
    return intrinsic(lambda typingctx, x, y, z: (signature, generate))


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


def _any_lane(builder: Any, mask: Any) -> Any:
    return builder.icmp_unsigned("!=", builder.bitcast(mask, _I8), ir.Constant(_I8, 0))


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

multiply_add = _vector_function(_multiply_add, float8, (float8, float8, float8))  # x * y + z
minimum = _vector_function(_choose("<"), float8, (float8, float8))  # y where x is not a number
maximum = _vector_function(_choose(">"), float8, (float8, float8))  # y where x is not a number
less_equal = _vector_function(_compare("<="), mask8, (float8, float8))
greater = _vector_function(_compare(">"), mask8, (float8, float8))
both = _vector_function(lambda b, x, y: b.and_(x, y), mask8, (mask8, mask8))
without = _vector_function(lambda b, x, y: b.and_(x, b.not_(y)), mask8, (mask8, mask8))  # x, not y
where = _vector_function(lambda b, m, x, y: b.select(m, x, y), float8, (mask8, float8, float8))
absolute = _vector_function(
    lambda b, x: _call(b, f"llvm.fabs.v{LANES}f32", _FLOATS, x), float8, (float8,)
)
square_root = _vector_function(
    lambda b, x: _call(b, f"llvm.sqrt.v{LANES}f32", _FLOATS, x), float8, (float8,)
)
# 2^x for -126 <= x < 128; below that the result is arbitrary (never a trap).
exp2 = _vector_function(_exp2, float8, (float8,))
# x with its sign bit set where the mask holds.
set_sign = _vector_function(_set_sign, float8, (float8, mask8))
all_signs_set = _vector_function(_all_signs_set, types.boolean, (float8,))
any_lane = _vector_function(_any_lane, types.boolean, (mask8,))
# The sum of the eight lanes, always in the same order.
sum_lanes = _vector_function(_sum_lanes, types.float32, (float8,))

for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):

    def _define_operator(symbol: Any, instruction: str) -> None:
        function = _vector_function(
            lambda b, x, y: getattr(b, instruction)(x, y, flags=_FLAGS), float8, (float8, float8)
        )

        @overload(symbol)
        def float8_operator(x, y):
            if isinstance(x, Float8Type) and isinstance(y, Float8Type):
                return lambda x, y: function(x, y)
            return None

    _define_operator(_symbol, _instruction)


# Making, loading and storing vectors


@intrinsic
def splat(typingctx, value):
    """The same float32 in all lanes."""

    def generate(context, builder, signature, arguments):
        empty = ir.Constant(_FLOATS, ir.Undefined)
        first = builder.insert_element(empty, arguments[0], ir.Constant(_I32, 0))
        return builder.shuffle_vector(first, empty, ir.Constant(_INTS, [0] * LANES))

    return float8(types.float32), generate


@intrinsic
def lane_numbers(typingctx):
    """0, 1, ... 7."""

    def generate(context, builder, signature, arguments):
        return ir.Constant(_FLOATS, [ir.Constant(_F32, float(i)) for i in range(LANES)])

    return float8(), generate


@intrinsic
def load(typingctx, array, index):
    """Eight floats of a contiguous 1-D array from an element on; any alignment."""

    def generate(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments)
        value = builder.load(builder.bitcast(pointer, _FLOATS.as_pointer()))
        value.align = 4
        return value

    return float8(array, types.intp), generate


@intrinsic
def store(typingctx, array, index, value):
    """Write eight floats to a contiguous 1-D array from an element on; any alignment."""

    def generate(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments[:2])
        written = builder.store(arguments[2], builder.bitcast(pointer, _FLOATS.as_pointer()))
        written.align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, float8), generate


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
def add_to_doubles(typingctx, totals, array, index):
    """Add eight floats of an array to the first eight float64 of another."""

    def generate(context, builder, signature, arguments):
        doubles = ir.VectorType(ir.DoubleType(), LANES)
        start = ir.Constant(_I64, 0)
        target = _element_pointer(context, builder, signature.args[0], arguments[0], start)
        target = builder.bitcast(target, doubles.as_pointer())
        source = _element_pointer(context, builder, signature.args[1], *arguments[1:])
        value = builder.load(builder.bitcast(source, _FLOATS.as_pointer()))
        total = builder.load(target)
        value.align, total.align = 4, 8
        written = builder.store(builder.fadd(total, builder.fpext(value, doubles)), target)
        written.align = 8
        return context.get_dummy_value()

    return types.void(totals, array, types.intp), generate


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
