// A tf.data source that counts down.
#include <memory>

#include "common.h"
#include "tensorflow/core/framework/dataset.h"
#include "tensorflow/core/framework/partial_tensor_shape.h"

namespace ops {

using tensorflow::data::DatasetBase;
using tensorflow::data::DatasetContext;
using tensorflow::data::DatasetIterator;
using tensorflow::data::IteratorBase;
using tensorflow::data::IteratorContext;
using tensorflow::data::IteratorStateReader;
using tensorflow::data::IteratorStateWriter;
using tensorflow::data::SerializationContext;

REGISTER_OP("EnvlockCountdownDataset")
    .Input("start: int64")
    .Output("handle: variant")
    .SetIsStateful()
    .SetShapeFn(ScalarShape);

class CountdownOp : public tensorflow::data::DatasetOpKernel {
 public:
  using DatasetOpKernel::DatasetOpKernel;

 private:
  void MakeDataset(OpKernelContext* context, DatasetBase** output) override {
    *output = new Dataset(context, context->input(0).scalar<Int64>()());
  }

  class Dataset : public DatasetBase {
   public:
    Dataset(OpKernelContext* context, Int64 start)
        : DatasetBase(DatasetContext(context)), start_(start) {}

    std::unique_ptr<IteratorBase> MakeIteratorInternal(const std::string& prefix) const override {
      return std::unique_ptr<IteratorBase>(
          new Iterator({this, tensorflow::strings::StrCat(prefix, "::Countdown")}));
    }
    const tensorflow::DataTypeVector& output_dtypes() const override {
      static const auto* types = new tensorflow::DataTypeVector({tensorflow::DT_INT64});
      return *types;
    }
    const std::vector<tensorflow::PartialTensorShape>& output_shapes() const override {
      static const auto* shapes = new std::vector<tensorflow::PartialTensorShape>({TensorShape({})});
      return *shapes;
    }
    std::string DebugString() const override { return "a countdown"; }
    Status InputDatasets(std::vector<const DatasetBase*>* inputs) const override {
      inputs->clear();
      return Status();
    }
    Status CheckExternalState() const override { return Status(); }

   protected:
    Status AsGraphDefInternal(SerializationContext* context, DatasetGraphDefBuilder* builder,
                              tensorflow::Node** output) const override {
      tensorflow::Node* start = nullptr;
      TF_RETURN_IF_ERROR(builder->AddScalar(start_, &start));
      return builder->AddDataset(this, {start}, output);
    }

   private:
    class Iterator : public DatasetIterator<Dataset> {
     public:
      explicit Iterator(const Params& params)
          : DatasetIterator<Dataset>(params), next_(params.dataset->start_) {}

      Status GetNextInternal(IteratorContext* context, std::vector<Tensor>* tensors,
                             bool* end_of_sequence) override {
        tensorflow::mutex_lock lock(mutex_);
        *end_of_sequence = next_ <= 0;
        if (!*end_of_sequence) {
          Tensor value(tensorflow::DT_INT64, TensorShape({}));
          value.scalar<Int64>()() = next_--;
          tensors->push_back(std::move(value));
        }
        return Status();
      }

     protected:
      Status SaveInternal(SerializationContext* context, IteratorStateWriter* writer) override {
        tensorflow::mutex_lock lock(mutex_);
        return writer->WriteScalar(full_name("next"), next_);
      }
      Status RestoreInternal(IteratorContext* context, IteratorStateReader* reader) override {
        tensorflow::mutex_lock lock(mutex_);
        return reader->ReadScalar(full_name("next"), &next_);
      }

     private:
      tensorflow::mutex mutex_;
      Int64 next_;
    };

    const Int64 start_;
  };
};

REGISTER_KERNEL_BUILDER(Name("EnvlockCountdownDataset").Device(tensorflow::DEVICE_CPU),
                        CountdownOp);

}  // namespace ops
