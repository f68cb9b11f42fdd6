"""What LLVM must be told so that it vectorises a loop well, where numba has no words for it.

`apart` promises that an array shares no memory with others. LLVM compares the addresses of all arrays of a loop before each run
of it where it cannot know that they differ, which costs as much as some dozen cells: a tenth of the time of rows of 256. A
pointer that comes out of a function whose result is declared `noalias`, and into which LLVM may not look, needs no comparison.
The function here returns its argument. A kernel applies it once, at its top, and uses the result alone from then on.
It must not do so with memory of its own: that is freed by the name under which it was taken, perhaps before its last use.

`least` and `greatest` are the smaller and the larger of two numbers. For `min` and `max` numba writes a comparison that is exact
for NaN and for the signs of zero, so that LLVM keeps the order of a minimum over a loop: one long chain of operations.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

IDENTITY = "gridflow_apart"
DOUBLE = ir.DoubleType()
OF_TWO = ir.FunctionType(DOUBLE, [DOUBLE, DOUBLE])


def apart_typed(typing_context: Any, array: Any) -> Any:
    """The same array. The caller promises that memory which is written through it is reached through no other array."""
    if not isinstance(array, types.Array):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(array)(context, builder, arguments[0])
        function = builder.module.globals.get(IDENTITY) or identity(builder.module, view.data.type)
        view.data = builder.call(function, [view.data])
        return impl_ret_borrowed(context, builder, array, view._getvalue())

    return array(array), generate


apart: Any = intrinsic(apart_typed)


def identity(module: ir.Module, pointer: ir.Type) -> ir.Function:
    """A function of pointers that is neither inlined nor looked into."""
    function = ir.Function(module, ir.FunctionType(pointer, [pointer]), IDENTITY)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("optnone")
    function.return_value.add_attribute("noalias")
    ir.IRBuilder(function.append_basic_block()).ret(function.args[0])
    return function


def extreme(name: str) -> Any:
    """A function of two numbers that LLVM has under this name, for numbers that are not NaN."""

    @intrinsic
    def of_two(typing_context: Any, one: Any, two: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function = builder.module.declare_intrinsic(name, [DOUBLE], OF_TWO)
            return builder.call(function, arguments, fastmath=("fast",))

        return types.float64(types.float64, types.float64), generate

    return of_two


least: Any = extreme("llvm.minnum")
greatest: Any = extreme("llvm.maxnum")
