// What all ops of this folder include. TF_MINOR (15 for TensorFlow 2.15) comes from the build.
#ifndef OPS_COMMON_H_
#define OPS_COMMON_H_

#define EIGEN_USE_THREADS

#include <cstdint>
#include <string>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

#ifndef TF_MINOR
#error "compile with -DTF_MINOR=<the minor release of TensorFlow 2>"
#endif

namespace ops {

#if TF_MINOR < 7
using Int64 = tensorflow::int64;  // `long long` there, not `int64_t`
#else
using Int64 = std::int64_t;
#endif

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Status;
using tensorflow::Tensor;
using tensorflow::TensorShape;

inline Status SameShape(tensorflow::shape_inference::InferenceContext* c) {
  c->set_output(0, c->input(0));
  return Status();
}

inline Status ScalarShape(tensorflow::shape_inference::InferenceContext* c) {
  for (int i = 0; i < c->num_outputs(); ++i) c->set_output(i, c->Scalar());
  return Status();
}

}  // namespace ops

#endif  // OPS_COMMON_H_
