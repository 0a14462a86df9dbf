// Attributes of every common kind, and errors that travel back as a Status.
#include "common.h"

namespace ops {

REGISTER_OP("EnvlockAttributes")
    .Attr("T: {float, double}")
    .Attr("scale: float = 2.0")
    .Attr("offsets: list(int) = [1, 2]")
    .Attr("label: string = 'plain'")
    .Attr("negate: bool = false")
    .Input("x: T")
    .Output("y: T")
    .Output("told: string")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle vector;
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(0), 1, &vector));
      c->set_output(0, vector);
      c->set_output(1, c->Scalar());
      return Status();
    });

template <typename T>
class Attributes : public OpKernel {
 public:
  explicit Attributes(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("scale", &scale_));
    OP_REQUIRES_OK(construction, construction->GetAttr("offsets", &offsets_));
    OP_REQUIRES_OK(construction, construction->GetAttr("label", &label_));
    OP_REQUIRES_OK(construction, construction->GetAttr("negate", &negate_));
    OP_REQUIRES(construction, !offsets_.empty(),
                tensorflow::errors::InvalidArgument("offsets must not be empty"));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    OP_REQUIRES(context, x.NumElements() > 0,
                tensorflow::errors::InvalidArgument("nothing to scale in ", name(), ", shape ",
                                                    x.shape().DebugString()));
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output("y", x.shape(), &y));
    const auto from = x.flat<T>();
    auto to = y->flat<T>();
    const size_t count = offsets_.size();
    for (Eigen::Index i = 0; i < from.size(); ++i) {
      const T value = from(i) * static_cast<T>(scale_) + static_cast<T>(offsets_[i % count]);
      to(i) = negate_ ? -value : value;
    }
    Tensor* told = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output("told", TensorShape({}), &told));
    told->scalar<tensorflow::tstring>()() =
        label_ + ": " + tensorflow::DataTypeString(x.dtype()) + " " + x.shape().DebugString();
  }

 private:
  float scale_ = 0;
  std::vector<int32_t> offsets_;
  std::string label_;
  bool negate_ = false;
};

REGISTER_KERNEL_BUILDER(
    Name("EnvlockAttributes").Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"),
    Attributes<float>);
REGISTER_KERNEL_BUILDER(
    Name("EnvlockAttributes").Device(tensorflow::DEVICE_CPU).TypeConstraint<double>("T"),
    Attributes<double>);

}  // namespace ops
