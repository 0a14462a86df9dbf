// ZeroOut: keeps one element of a tensor and sets every other one to zero.
//
//   zero_out([5, 4, 3, 2, 1])          -> [5, 0, 0, 0, 0]
//   zero_out([5, 4, 3, 2, 1], keep=2)  -> [0, 0, 3, 0, 0]

#include <cstdint>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace {

using tensorflow::DEVICE_CPU;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

REGISTER_OP("ZeroOut")
    .Attr("T: {int32, float, double} = DT_INT32")
    .Attr("keep: int >= 0 = 0")
    .Input("values: T")
    .Output("zeroed: T")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      c->set_output(0, c->input(0));
      return tensorflow::Status();
    })
    .Doc("Keeps the element at the flat position `keep` and sets every other one to zero.");

template <typename T>
class ZeroOutOp : public OpKernel {
 public:
  explicit ZeroOutOp(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("keep", &keep_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    const auto values = input.flat<T>();
    OP_REQUIRES(context, values.size() == 0 || keep_ < values.size(),
                tensorflow::errors::InvalidArgument("keep is ", keep_, ", but there are only ",
                                                    values.size(), " elements"));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, input.shape(), &output));
    auto zeroed = output->flat<T>();
    for (Eigen::Index i = 0; i < zeroed.size(); ++i) {
      zeroed(i) = i == keep_ ? values(i) : T(0);
    }
  }

 private:
  int32_t keep_ = 0;
};

#define REGISTER(type)                                                             \
  REGISTER_KERNEL_BUILDER(Name("ZeroOut").Device(DEVICE_CPU).TypeConstraint<type>("T"), \
                          ZeroOutOp<type>)
REGISTER(int32_t);
REGISTER(float);
REGISTER(double);
#undef REGISTER

}  // namespace
