// Protocol buffers that TensorFlow generated: parsed, read, built and serialised here.
#include "common.h"
#include "tensorflow/core/example/example.pb.h"
#include "tensorflow/core/example/feature.pb.h"
#include "tensorflow/core/framework/tensor.pb.h"

namespace ops {

REGISTER_OP("EnvlockProtobuf")
    .Input("serialized: string")
    .Output("sum: int64")
    .Output("tensor: string")
    .SetShapeFn(ScalarShape);

class Protobuf : public OpKernel {
 public:
  explicit Protobuf(OpKernelConstruction* construction) : OpKernel(construction) {}

  void Compute(OpKernelContext* context) override {
    const auto& bytes = context->input(0).scalar<tensorflow::tstring>()();
    tensorflow::Example example;
    OP_REQUIRES(context, example.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())),
                tensorflow::errors::DataLoss("not a serialized Example"));
    Int64 sum = 0;
    for (const auto& entry : example.features().feature()) {
      for (const auto value : entry.second.int64_list().value()) sum += value;
    }
    tensorflow::TensorProto proto;
    proto.set_dtype(tensorflow::DT_INT64);
    proto.mutable_tensor_shape()->add_dim()->set_size(1);
    proto.add_int64_val(sum);

    Tensor* total = nullptr;
    Tensor* text = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &total));
    OP_REQUIRES_OK(context, context->allocate_output(1, TensorShape({}), &text));
    total->scalar<Int64>()() = sum;
    std::string serialized;
    OP_REQUIRES(context, proto.SerializeToString(&serialized),
                tensorflow::errors::Internal("cannot serialize"));
    text->scalar<tensorflow::tstring>()() = serialized;
  }
};

REGISTER_KERNEL_BUILDER(Name("EnvlockProtobuf").Device(tensorflow::DEVICE_CPU), Protobuf);

}  // namespace ops
