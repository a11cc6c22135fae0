"""Elementary functions without branches or calls, so that loops around them become vector instructions.

They are for single precision; in double precision they are the C library's.
"""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

# What kernels made of many short sums allow the compiler. No assumption that NaN and infinity never occur: a bad
# parameter must not become undefined behaviour.
FASTMATH = {"contract", "arcp", "nsz", "reassoc"}


@intrinsic
def _float32_of_bits(typing_context, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def _bits_of_float32(typing_context, x):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def lowest_bit(typing_context, mask):
    """Number of the lowest bit that is set in a uint64, which must not be 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def prefetch(typing_context, array, index):
    """Asks for the part of a contiguous array at that flat index, so that it has come when it is needed."""

    def generate(context, builder, signature, arguments):
        byte, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        is_written, into_first_cache, is_data = whole(0), whole(3), whole(1)
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(function, [place, is_written, into_first_cache, is_data])
        return context.get_dummy_value()

    return types.none(array, types.int64), generate


def exp(x):
    """exp(x) for x <= 0."""
    raise NotImplementedError("only inside compiled code")


@overload(exp, inline="always")
def _exp(x):
    if x != types.float32:
        return lambda x: math.exp(x)

    log2e, half = np.float32(1.4426950408889634), np.float32(0.5)
    c1, c2, c3 = np.float32(0.6931471805599453), np.float32(0.2402265069591007), np.float32(0.05550410866482158)
    c4, c5, c6 = np.float32(0.009618129107628477), np.float32(0.0013333558146428443), np.float32(1.540353039338161e-4)
    one, lowest = np.float32(1), np.float32(-126)

    def polynomial(x):
        t = max(x * log2e, lowest)
        whole = np.int32(t - half)
        f = t - np.float32(whole)
        p = one + f * (c1 + f * (c2 + f * (c3 + f * (c4 + f * (c5 + f * c6)))))
        return p * _float32_of_bits((whole + np.int32(127)) << np.int32(23))

    return polynomial


def log(x):
    """log(x) for x > 0, of neither the smallest nor the largest numbers."""
    raise NotImplementedError("only inside compiled code")


@overload(log, inline="always")
def _log(x):
    if x != types.float32:
        return lambda x: math.log(x)

    # Of x = 2^whole m, with m from sqrt(1/2) to sqrt(2), log m = 2 artanh((m - 1) / (m + 1)).
    root_half, ln2, one, two = np.int32(0x3F3504F3), np.float32(0.6931471805599453), np.float32(1), np.float32(2)
    c3, c5, c7, c9 = np.float32(1 / 3), np.float32(1 / 5), np.float32(1 / 7), np.float32(1 / 9)

    def series(x):
        whole = (_bits_of_float32(x) - root_half) >> np.int32(23)
        m = _float32_of_bits(_bits_of_float32(x) - (whole << np.int32(23)))
        t = (m - one) / (m + one)
        square = t * t
        return np.float32(whole) * ln2 + two * t * (
            one + square * (c3 + square * (c5 + square * (c7 + square * c9)))
        )

    return series


def power_2_4(x):
    """x^2.4 for x > 0, of neither the smallest nor the largest numbers."""
    raise NotImplementedError("only inside compiled code")


@overload(power_2_4, inline="always")
def _power_2_4(x):
    if x != types.float32:
        return lambda x: x**2.4

    # With r = (x^2)^(-1/5) it is (x^2 r^2)^2; r by Newton's method, begun at -1/5 of the exponent bits.
    start, five, fifth, six = np.int32(1277958000), np.int32(5), np.float32(0.2), np.float32(6)

    def newton(x):
        z = x * x
        r = _float32_of_bits(start - _bits_of_float32(z) // five)
        for _ in range(3):
            squared = r * r
            r = fifth * r * (six - z * squared * squared * r)
        root = z * r * r
        return root * root

    return newton
