// The least a kernel can do: one input, one output, no attributes.
#include "common.h"

namespace ops {

REGISTER_OP("EnvlockMinimal").Input("x: int32").Output("y: int32").SetShapeFn(SameShape);

class Minimal : public OpKernel {
 public:
  explicit Minimal(OpKernelConstruction* construction) : OpKernel(construction) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    const auto from = x.flat<int32_t>();
    auto to = y->flat<int32_t>();
    for (Eigen::Index i = 0; i < from.size(); ++i) to(i) = 3 * from(i) + 1;
  }
};

REGISTER_KERNEL_BUILDER(Name("EnvlockMinimal").Device(tensorflow::DEVICE_CPU), Minimal);

}  // namespace ops
