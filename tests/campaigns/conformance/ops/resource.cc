// A ResourceBase subclass behind a resource handle, shared by two ops.
#include "common.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/platform/mutex.h"

namespace ops {

class Counter : public tensorflow::ResourceBase {
 public:
  explicit Counter(Int64 start) : value_(start) {}

  std::string DebugString() const override { return "a counter"; }

  Int64 Add(Int64 amount) {
    tensorflow::mutex_lock lock(mutex_);
    value_ += amount;
    return value_;
  }

 private:
  tensorflow::mutex mutex_;
  Int64 value_;
};

REGISTER_OP("EnvlockCounter")
    .Attr("container: string = ''")
    .Attr("shared_name: string")
    .Attr("start: int = 0")
    .Output("counter: resource")
    .SetIsStateful()
    .SetShapeFn(ScalarShape);

REGISTER_OP("EnvlockCount")
    .Input("counter: resource")
    .Input("amount: int64")
    .Output("value: int64")
    .SetIsStateful()
    .SetShapeFn(ScalarShape);

class CounterHandle : public OpKernel {
 public:
  explicit CounterHandle(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("start", &start_));
  }

  void Compute(OpKernelContext* context) override {
    tensorflow::ContainerInfo info;
    OP_REQUIRES_OK(context, info.Init(context->resource_manager(), def()));
    Counter* counter = nullptr;
    OP_REQUIRES_OK(context, info.resource_manager()->LookupOrCreate<Counter>(
                                info.container(), info.name(), &counter, [this](Counter** made) {
                                  *made = new Counter(start_);
                                  return Status();
                                }));
    tensorflow::core::ScopedUnref unref(counter);
    Tensor* handle = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &handle));
    handle->scalar<tensorflow::ResourceHandle>()() =
        tensorflow::MakeResourceHandle<Counter>(context, info.container(), info.name());
  }

 private:
  Int64 start_ = 0;
};

class Count : public OpKernel {
 public:
  explicit Count(OpKernelConstruction* construction) : OpKernel(construction) {}

  void Compute(OpKernelContext* context) override {
    Counter* counter = nullptr;
    OP_REQUIRES_OK(context, tensorflow::LookupResource(
                                context, tensorflow::HandleFromInput(context, 0), &counter));
    tensorflow::core::ScopedUnref unref(counter);
    Tensor* value = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &value));
    value->scalar<Int64>()() = counter->Add(context->input(1).scalar<Int64>()());
  }
};

REGISTER_KERNEL_BUILDER(Name("EnvlockCounter").Device(tensorflow::DEVICE_CPU), CounterHandle);
REGISTER_KERNEL_BUILDER(Name("EnvlockCount").Device(tensorflow::DEVICE_CPU), Count);

}  // namespace ops
