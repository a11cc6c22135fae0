"""Work dealt out to threads: a compiled function calls itself again, once for every share of its work.

numba's own parallel loops compile what stands inside them three times over. Here the only such loop is in `_call_all`,
and all that it does is to call a function by its address.
"""

from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

ALL = -1  # as the number of a share: all of them
COMMON = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
LOOP = {"prange": True} | dict.fromkeys(("comprehension", "fusion", "numpy", "reduction", "setitem", "stencil"), False)
WORD = ir.IntType(64)
CALLED = ir.FunctionType(ir.VoidType(), [WORD, WORD])  # where the arguments are, and the number of the share


@intrinsic
def _call(typing_context, address, arguments, share):
    """Calls the function at that address."""

    def generate(context, builder, signature, values):
        builder.call(builder.inttoptr(values[0], CALLED.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), generate


@njit(parallel=LOOP, no_cpython_wrapper=True, **COMMON)
def _call_all(address, arguments, first, count):
    for share in prange(count):
        _call(address, arguments, first + share)


@intrinsic
def spread(typing_context, first, count):
    """Calls the function in which it stands again, `count` times, on all threads, and waits for all of them.

    The last argument of that function, an int, is then `first` to first + count - 1, and the others are what they were
    when it was called from outside, whatever it has made of them since; it must return nothing.
    """

    def generate(context, builder, signature, values):
        function = builder.function
        function.attributes.add("noinline")
        result, error, *arguments, _ = function.args
        kept = cgutils.pack_struct(builder, arguments)
        where = cgutils.alloca_once_value(builder, kept)
        # What is called by its address: it finds the arguments in memory and hands them on.
        called = ir.Function(builder.module, CALLED, builder.module.get_unique_name("share"))
        called.linkage = "internal"
        inner = ir.IRBuilder(called.append_basic_block())
        found = inner.load(inner.inttoptr(called.args[0], where.type))
        found = [inner.extract_value(found, i) for i in range(len(arguments))]
        places = [inner.bitcast(inner.alloca(WORD), x.type) for x in (result, error)]  # of pointers; not read
        inner.call(function, [*places, *found, called.args[1]])
        inner.ret_void()
        context.compile_internal(
            builder, lambda address, arguments, first, count: _call_all(address, arguments, first, count),
            types.none(*4 * (types.int64,)),
            [builder.ptrtoint(called, WORD), builder.ptrtoint(where, WORD), *values],
        )  # fmt: skip
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), generate
