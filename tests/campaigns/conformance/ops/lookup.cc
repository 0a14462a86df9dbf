// A lookup table of our own, which TensorFlow's table ops call, and an op that calls any table.
#include "common.h"
#include "tensorflow/core/framework/lookup_interface.h"
#include "tensorflow/core/framework/resource_mgr.h"

namespace ops {

using tensorflow::lookup::LookupInterface;

// Maps every key below `limit` to ten times itself; it cannot be changed.
class TenfoldTable : public LookupInterface {
 public:
  explicit TenfoldTable(Int64 limit) : limit_(limit) {}

  Status Find(OpKernelContext* context, const Tensor& keys, Tensor* values,
              const Tensor& default_value) override {
    const auto from = keys.flat<Int64>();
    auto to = values->flat<Int64>();
    const Int64 otherwise = default_value.flat<Int64>()(0);
    for (Eigen::Index i = 0; i < from.size(); ++i) {
      to(i) = from(i) < limit_ ? 10 * from(i) : otherwise;
    }
    return Status();
  }
  Status Insert(OpKernelContext*, const Tensor&, const Tensor&) override { return Fixed(); }
  Status Remove(OpKernelContext*, const Tensor&) override { return Fixed(); }
  Status ImportValues(OpKernelContext*, const Tensor&, const Tensor&) override { return Fixed(); }
  Status ExportValues(OpKernelContext*) override { return Fixed(); }

  size_t size() const override { return static_cast<size_t>(limit_); }
  tensorflow::DataType key_dtype() const override { return tensorflow::DT_INT64; }
  tensorflow::DataType value_dtype() const override { return tensorflow::DT_INT64; }
  TensorShape key_shape() const override { return TensorShape({}); }
  TensorShape value_shape() const override { return TensorShape({}); }

 private:
  static Status Fixed() { return tensorflow::errors::Unimplemented("the table is fixed"); }

  const Int64 limit_;
};

REGISTER_OP("EnvlockTable")
    .Attr("limit: int")
    .Attr("shared_name: string")
    .Output("table: resource")
    .SetIsStateful()
    .SetShapeFn(ScalarShape);

REGISTER_OP("EnvlockFind")
    .Input("table: resource")
    .Input("keys: int64")
    .Output("values: int64")
    .Output("size: int64")
    .SetIsStateful()
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      c->set_output(0, c->input(1));
      c->set_output(1, c->Scalar());
      return Status();
    });

class Table : public OpKernel {
 public:
  explicit Table(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("limit", &limit_));
    OP_REQUIRES_OK(construction, construction->GetAttr("shared_name", &name_));
  }

  void Compute(OpKernelContext* context) override {
    auto* manager = context->resource_manager();
    LookupInterface* table = nullptr;
    OP_REQUIRES_OK(context, manager->LookupOrCreate<LookupInterface>(
                                manager->default_container(), name_, &table,
                                [this](LookupInterface** made) {
                                  *made = new TenfoldTable(limit_);
                                  return Status();
                                }));
    tensorflow::core::ScopedUnref unref(table);
    Tensor* handle = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &handle));
    handle->scalar<tensorflow::ResourceHandle>()() =
        tensorflow::MakeResourceHandle<LookupInterface>(context, manager->default_container(),
                                                        name_);
  }

 private:
  Int64 limit_ = 0;
  std::string name_;
};

class Find : public OpKernel {
 public:
  explicit Find(OpKernelConstruction* construction) : OpKernel(construction) {}

  void Compute(OpKernelContext* context) override {
    LookupInterface* table = nullptr;
    OP_REQUIRES_OK(context, tensorflow::LookupResource(
                                context, tensorflow::HandleFromInput(context, 0), &table));
    tensorflow::core::ScopedUnref unref(table);
    OP_REQUIRES(context,
                table->key_dtype() == tensorflow::DT_INT64 &&
                    table->value_dtype() == tensorflow::DT_INT64,
                tensorflow::errors::InvalidArgument("not a table of int64 to int64"));
    const Tensor& keys = context->input(1);
    Tensor otherwise(tensorflow::DT_INT64, TensorShape({}));
    otherwise.scalar<Int64>()() = -1;
    OP_REQUIRES_OK(context, table->CheckFindArguments(keys, otherwise));
    Tensor* values = nullptr;
    Tensor* size = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, keys.shape(), &values));
    OP_REQUIRES_OK(context, context->allocate_output(1, TensorShape({}), &size));
    OP_REQUIRES_OK(context, table->Find(context, keys, values, otherwise));
    size->scalar<Int64>()() = static_cast<Int64>(table->size());
  }
};

REGISTER_KERNEL_BUILDER(Name("EnvlockTable").Device(tensorflow::DEVICE_CPU), Table);
REGISTER_KERNEL_BUILDER(Name("EnvlockFind").Device(tensorflow::DEVICE_CPU), Find);

}  // namespace ops
