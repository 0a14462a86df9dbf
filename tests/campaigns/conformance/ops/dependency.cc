// A kernel that calls a further library, found beside the plugin through `$ORIGIN`.
#include "common.h"

extern "C" int32_t envlock_extra_twice(int32_t value);

namespace ops {

REGISTER_OP("EnvlockDependency").Input("x: int32").Output("y: int32").SetShapeFn(SameShape);

class Dependency : public OpKernel {
 public:
  explicit Dependency(OpKernelConstruction* construction) : OpKernel(construction) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    const auto from = x.flat<int32_t>();
    auto to = y->flat<int32_t>();
    for (Eigen::Index i = 0; i < from.size(); ++i) to(i) = envlock_extra_twice(from(i));
  }
};

REGISTER_KERNEL_BUILDER(Name("EnvlockDependency").Device(tensorflow::DEVICE_CPU), Dependency);

}  // namespace ops
