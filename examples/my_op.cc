// The op of README's session: it counts its inputs, by an accessor that is compiled into it.
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
using namespace tensorflow;
REGISTER_OP("MyOp").Input("x: N * int32").Attr("N: int >= 1").Output("n: int32");
struct MyOp : OpKernel {
  explicit MyOp(OpKernelConstruction* c) : OpKernel(c) {}
  void Compute(OpKernelContext* ctx) override {
    Tensor* out = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, TensorShape({}), &out));
    out->scalar<int32>()() = ctx->num_inputs();
  }
};
REGISTER_KERNEL_BUILDER(Name("MyOp").Device(DEVICE_CPU), MyOp);
