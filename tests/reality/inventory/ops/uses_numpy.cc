// An op that hands arrays to Python: it takes numpy's C-API, whose level import_array() compares.
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"

REGISTER_OP("EnvlockUsesNumpy").Input("x: int32").Output("y: int32");

static int take_numpy() {
  PyGILState_STATE state = PyGILState_Ensure();
  int result = _import_array();
  PyGILState_Release(state);
  return result;
}

class UsesNumpy : public tensorflow::OpKernel {
 public:
  explicit UsesNumpy(tensorflow::OpKernelConstruction* construction) : OpKernel(construction) {}

  void Compute(tensorflow::OpKernelContext* context) override {
    OP_REQUIRES(context, take_numpy() == 0, tensorflow::errors::Internal("numpy does not fit"));
    context->set_output(0, context->input(0));
  }
};

REGISTER_KERNEL_BUILDER(Name("EnvlockUsesNumpy").Device(tensorflow::DEVICE_CPU), UsesNumpy);
