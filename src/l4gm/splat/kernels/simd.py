"""Eight-lane float32 vectors inside Numba, from LLVM's vector types.

Numba leaves loops over eight numbers scalar as soon as their body is large; these types make the
vectors explicit. LLVM maps them to whatever the machine has (two SSE or NEON registers, one AVX).

`Float8` values add, subtract, multiply and divide with the usual operators. Nothing here has a
fast-math flag but contract and nsz: reassociation would break the rounding in `exp2`.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _numba_intrinsic
from numba.extending import models, overload, register_model

LANES = 8
# Typed as anything: a type checker sees the typing context as an argument that callers miss.
intrinsic: Any = _numba_intrinsic
_FLAGS = ("contract", "nsz")
_F32, _I32, _I8 = ir.FloatType(), ir.IntType(32), ir.IntType(8)
_FLOATS = ir.VectorType(_F32, LANES)
_INTS = ir.VectorType(_I32, LANES)
_BITS = ir.VectorType(ir.IntType(1), LANES)
_SIGN_BIT = -(1 << 31)


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


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [ir.Constant(_F32, float(np.float32(value)))] * LANES)


def _int_constant(value: int) -> ir.Constant:
    return ir.Constant(_INTS, [ir.Constant(_I32, value)] * LANES)


def _call(builder: Any, name: str, result: Any, arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    # fmuladd, not fma: without the instruction it becomes two operations instead of library calls.
    return _call(builder, f"llvm.fmuladd.v{LANES}f32", _FLOATS, [x, y, z])


def _element_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


@intrinsic
def splat(typingctx, value):
    """The same float32 in all lanes."""

    def codegen(context, builder, signature, arguments):
        empty = ir.Constant(_FLOATS, ir.Undefined)
        first = builder.insert_element(empty, arguments[0], ir.Constant(_I32, 0))
        return builder.shuffle_vector(first, empty, ir.Constant(_INTS, [0] * LANES))

    return float8(types.float32), codegen


@intrinsic
def lane_numbers(typingctx):
    """0, 1, ... 7."""

    def codegen(context, builder, signature, arguments):
        return ir.Constant(_FLOATS, [ir.Constant(_F32, float(i)) for i in range(LANES)])

    return float8(), codegen


@intrinsic
def load(typingctx, array, index):
    """Eight floats of a contiguous 1-D array from an element on; any alignment."""

    def codegen(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments)
        value = builder.load(builder.bitcast(pointer, _FLOATS.as_pointer()))
        value.align = 4
        return value

    return float8(array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write eight floats to a contiguous 1-D array from an element on; any alignment."""

    def codegen(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments[:2])
        written = builder.store(arguments[2], builder.bitcast(pointer, _FLOATS.as_pointer()))
        written.align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, float8), codegen


@intrinsic
def multiply_add(typingctx, x, y, z):
    """x * y + z."""

    def codegen(context, builder, signature, arguments):
        return _multiply_add(builder, *arguments)

    return float8(float8, float8, float8), codegen


@intrinsic
def minimum(typingctx, x, y):
    """The smaller of each lane; y where x is not a number."""

    def codegen(context, builder, signature, arguments):
        x, y = arguments
        return builder.select(builder.fcmp_ordered("<", x, y), x, y)

    return float8(float8, float8), codegen


@intrinsic
def less_equal(typingctx, x, y):
    """x <= y, false where either is not a number."""

    def codegen(context, builder, signature, arguments):
        return builder.fcmp_ordered("<=", *arguments)

    return mask8(float8, float8), codegen


@intrinsic
def greater(typingctx, x, y):
    """x > y, false where either is not a number."""

    def codegen(context, builder, signature, arguments):
        return builder.fcmp_ordered(">", *arguments)

    return mask8(float8, float8), codegen


@intrinsic
def both(typingctx, x, y):
    """x and y."""

    def codegen(context, builder, signature, arguments):
        return builder.and_(*arguments)

    return mask8(mask8, mask8), codegen


@intrinsic
def without(typingctx, x, y):
    """x and not y."""

    def codegen(context, builder, signature, arguments):
        return builder.and_(arguments[0], builder.not_(arguments[1]))

    return mask8(mask8, mask8), codegen


@intrinsic
def where(typingctx, mask, x, y):
    """x where the mask holds, else y."""

    def codegen(context, builder, signature, arguments):
        return builder.select(*arguments)

    return float8(mask8, float8, float8), codegen


@intrinsic
def set_sign(typingctx, x, mask):
    """x with its sign bit set where the mask holds."""

    def codegen(context, builder, signature, arguments):
        x, mask = arguments
        sign = builder.select(mask, _int_constant(_SIGN_BIT), _int_constant(0))
        return builder.bitcast(builder.or_(builder.bitcast(x, _INTS), sign), _FLOATS)

    return float8(float8, mask8), codegen


@intrinsic
def all_signs_set(typingctx, x):
    """Whether the sign bits of all lanes are set."""

    def codegen(context, builder, signature, arguments):
        negative = builder.icmp_signed("<", builder.bitcast(arguments[0], _INTS), _int_constant(0))
        bits = builder.bitcast(negative, _I8)
        return builder.icmp_unsigned("==", bits, ir.Constant(_I8, (1 << LANES) - 1))

    return types.boolean(float8), codegen


@intrinsic
def count_trailing_zeros(typingctx, word):
    """Number of the lowest bit that is set in a uint64 that is not zero."""

    def codegen(context, builder, signature, arguments):
        word_type, flag = ir.IntType(64), ir.IntType(1)
        kind = ir.FunctionType(word_type, [word_type, flag])
        count = cgutils.get_or_insert_function(builder.module, kind, "llvm.cttz.i64")
        return builder.call(count, [arguments[0], ir.Constant(flag, 1)])

    return types.uint64(types.uint64), codegen


def _fold(builder: Any, x: Any, y: Any, low: list[int], high: list[int]) -> Any:
    """The sum of two selections of lanes from x (0 to 7) and y (8 to 15)."""
    parts = [builder.shuffle_vector(x, y, ir.Constant(_INTS, lanes)) for lanes in (low, high)]
    return builder.fadd(*parts)


@intrinsic
def sum_lanes_of_eight(typingctx, a, b, c, d, e, f, g, h):
    """One vector with the lane sums of eight vectors; a transposition folded into the additions."""

    def codegen(context, builder, signature, arguments):
        ones = [
            _fold(builder, x, y, [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15])
            for x, y in zip(arguments[::2], arguments[1::2], strict=True)
        ]
        twos = [
            _fold(builder, x, y, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])
            for x, y in zip(ones[::2], ones[1::2], strict=True)
        ]
        return _fold(builder, *twos, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])

    return float8(*[float8] * 8), codegen


@intrinsic
def any_lane(typingctx, mask):
    """Whether the mask holds in any lane."""

    def codegen(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], _I8)
        return builder.icmp_unsigned("!=", bits, ir.Constant(_I8, 0))

    return types.boolean(mask8), codegen


@intrinsic
def sum_lanes(typingctx, x):
    """The sum of the eight lanes, always in the same order."""

    def codegen(context, builder, signature, arguments):
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        kind = ir.FunctionType(_F32, [_F32, _FLOATS])
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)
        start = ir.Constant(_F32, -0.0)
        return builder.call(reduce, [start, arguments[0]], fastmath=("reassoc", "nsz"))

    return types.float32(float8), codegen


def _exp2_coefficients(degree: int) -> list[float]:
    """Polynomial for 2^x on [-1/2, 1/2] of nearly least relative error (fit at Chebyshev nodes)."""
    nodes = 0.5 * np.cos((np.arange(4000) + 0.5) / 4000 * np.pi)
    powers = np.vander(nodes, degree + 1, increasing=True)
    values = np.exp2(nodes)
    solution = np.linalg.lstsq(powers / values[:, None], np.ones_like(values), rcond=None)[0]
    return [float(c) for c in solution]


_EXP2 = _exp2_coefficients(5)  # relative error 2.4e-7 with float32 arithmetic
# Adding this rounds to the nearest integer and leaves it in the low bits of the mantissa.
_ROUNDER = 1.5 * 2.0**23


@intrinsic
def exp2(typingctx, x):
    """2^x for -126 <= x < 128; below that the result is arbitrary (never a trap)."""

    def codegen(context, builder, signature, arguments):
        rounder = _constant(_ROUNDER)
        shifted = builder.fadd(arguments[0], rounder)
        fraction = builder.fsub(arguments[0], builder.fsub(shifted, rounder))
        # Estrin's scheme: one operation more than Horner's, but half as long a chain.
        c = [_constant(coefficient) for coefficient in _EXP2]
        square = builder.fmul(fraction, fraction)
        low, middle, high = (_multiply_add(builder, c[k + 1], fraction, c[k]) for k in (0, 2, 4))
        result = _multiply_add(builder, high, square, middle)
        result = _multiply_add(builder, result, square, low)
        exponent = builder.shl(builder.bitcast(shifted, _INTS), _int_constant(23))
        return builder.bitcast(builder.add(builder.bitcast(result, _INTS), exponent), _FLOATS)

    return float8(float8), codegen


@intrinsic
def maximum(typingctx, x, y):
    """The larger of each lane; y where x is not a number."""

    def codegen(context, builder, signature, arguments):
        x, y = arguments
        return builder.select(builder.fcmp_ordered(">", x, y), x, y)

    return float8(float8, float8), codegen


@intrinsic
def absolute(typingctx, x):
    """x with its sign bits cleared."""

    def codegen(context, builder, signature, arguments):
        return _call(builder, f"llvm.fabs.v{LANES}f32", _FLOATS, arguments)

    return float8(float8), codegen


@intrinsic
def square_root(typingctx, x):
    """The square root of each lane."""

    def codegen(context, builder, signature, arguments):
        return _call(builder, f"llvm.sqrt.v{LANES}f32", _FLOATS, arguments)

    return float8(float8), codegen


@intrinsic
def store_rounded(typingctx, array, index, value):
    """Write eight floats, rounded to int32, to a contiguous 1-D array; |value| < 2^22."""

    def codegen(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments[:2])
        shifted = builder.fadd(arguments[2], _constant(_ROUNDER))
        bits = builder.bitcast(shifted, _INTS)
        value = builder.sub(bits, builder.bitcast(_constant(_ROUNDER), _INTS))
        written = builder.store(value, builder.bitcast(pointer, _INTS.as_pointer()))
        written.align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, float8), codegen


@intrinsic
def prefetch_row(typingctx, array, row):
    """Ask for the first cache line of a row of a C-contiguous 2-D array."""

    def codegen(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, view.strides)[0]
        start = builder.bitcast(view.data, _I8.as_pointer())
        pointer = builder.gep(start, [builder.mul(arguments[1], stride)])
        kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = (ir.Constant(_I32, n) for n in (0, 3, 1))
        builder.call(prefetch, [pointer, read, keep, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def fetch_add(typingctx, counters, index):
    """Add one to an int64 counter shared by threads; returns what it held before."""

    def codegen(context, builder, signature, arguments):
        pointer = _element_pointer(context, builder, signature.args[0], *arguments)
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", pointer, one, "monotonic")

    return types.int64(counters, types.intp), codegen


def _arithmetic(instruction: str) -> Any:
    @intrinsic
    def function(typingctx, x, y):
        def codegen(context, builder, signature, arguments):
            return getattr(builder, instruction)(*arguments, flags=_FLAGS)

        return float8(float8, float8), codegen

    return function


def _define_operator(symbol: Any, instruction: str) -> None:
    function = _arithmetic(instruction)

    @overload(symbol)
    def float8_operator(x, y):
        if isinstance(x, Float8Type) and isinstance(y, Float8Type):
            return lambda x, y: function(x, y)
        return None


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_symbol, _instruction)
