// Registers what macros name: the ops REG_FIRST and REG_OTHER (this one with a kernel), and kernels
// of the ops REG_KERNEL and REG_TYPED that add REG_VALUE.
#include "common.h"

namespace ops {

template <int kAdded>
class Plus : public OpKernel {
 public:
  explicit Plus(OpKernelConstruction* construction) : OpKernel(construction) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    const auto from = x.flat<float>();
    auto to = y->flat<float>();
    for (Eigen::Index i = 0; i < from.size(); ++i) to(i) = from(i) + kAdded;
  }
};

#ifdef REG_FIRST
REGISTER_OP(REG_FIRST).Input("x: float").Output("y: float").SetShapeFn(SameShape);
#endif
#ifdef REG_OTHER
REGISTER_OP(REG_OTHER).Input("x: float").Output("y: float").SetShapeFn(SameShape);
REGISTER_KERNEL_BUILDER(Name(REG_OTHER).Device(tensorflow::DEVICE_CPU), Plus<1000>);
#endif
#ifdef REG_KERNEL
REGISTER_KERNEL_BUILDER(Name(REG_KERNEL).Device(tensorflow::DEVICE_CPU), Plus<REG_VALUE>);
#endif
#ifdef REG_TYPED
REGISTER_KERNEL_BUILDER(
    Name(REG_TYPED).Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T").Priority(REG_PRIORITY),
    Plus<REG_VALUE>);
#endif

#ifdef REG_ATTR
REGISTER_KERNEL_BUILDER(
    Name(REG_ATTR).Device(tensorflow::DEVICE_CPU).AttrConstraint<tensorflow::int64>("N", {1, 2}),
    Plus<1>);
REGISTER_KERNEL_BUILDER(
    Name(REG_ATTR).Device(tensorflow::DEVICE_CPU).AttrConstraint<tensorflow::int64>("N", {3, 4}),
    Plus<2>);
#endif

}  // namespace ops
