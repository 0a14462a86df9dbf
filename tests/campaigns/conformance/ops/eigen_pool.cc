// Eigen expressions on the device's thread pool, and a sharded loop on its work queue.
#include "common.h"
#include "tensorflow/core/util/work_sharder.h"

namespace ops {

REGISTER_OP("EnvlockEigenPool")
    .Input("x: float")
    .Output("y: float")
    .Output("sum: float")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      c->set_output(0, c->input(0));
      c->set_output(1, c->Scalar());
      return Status();
    });

class EigenPool : public OpKernel {
 public:
  explicit EigenPool(OpKernelConstruction* construction) : OpKernel(construction) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    Tensor* y = nullptr;
    Tensor* sum = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    OP_REQUIRES_OK(context, context->allocate_output(1, TensorShape({}), &sum));
    const auto& device = context->eigen_device<Eigen::ThreadPoolDevice>();
    const auto from = x.flat<float>();
    auto to = y->flat<float>();
    to.device(device) = from.square() + from * 2.0f + 1.0f;

    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    Tensor doubled(tensorflow::DT_FLOAT, x.shape());
    auto twice = doubled.flat<float>();
    tensorflow::Shard(workers.num_threads, workers.workers, twice.size(), 1000,
                      [&](Int64 begin, Int64 end) {
                        for (Int64 i = begin; i < end; ++i) twice(i) = 2.0f * from(i);
                      });
    sum->scalar<float>().device(device) = twice.sum();
  }
};

REGISTER_KERNEL_BUILDER(Name("EnvlockEigenPool").Device(tensorflow::DEVICE_CPU), EigenPool);

}  // namespace ops
