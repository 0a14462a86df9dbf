// Op and kernel registered through TensorFlow's C functions only. It is a C++ file just because
// those headers are not accepted by a C compiler.
#include <cstdint>
#include <cstdio>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

namespace {

void* Create(TF_OpKernelConstruction* construction) {
  auto* step = new int32_t(0);
  TF_Status* status = TF_NewStatus();
  TF_OpKernelConstruction_GetAttrInt32(construction, "step", step, status);
  if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(construction, status);
  TF_DeleteStatus(status);
  return step;
}

void Delete(void* kernel) { delete static_cast<int32_t*>(kernel); }

void Add(int32_t step, TF_OpKernelContext* context, TF_Tensor* x, TF_Status* status) {
  int64_t dims[8];
  const int rank = TF_NumDims(x);
  if (rank > 8) {
    TF_SetStatus(status, TF_INVALID_ARGUMENT, "more than 8 dimensions");
    return;
  }
  for (int i = 0; i < rank; ++i) dims[i] = TF_Dim(x, i);
  const size_t bytes = TF_TensorByteSize(x);
  TF_Tensor* y = TF_AllocateOutput(context, 0, TF_FLOAT, dims, rank, bytes, status);
  if (TF_GetCode(status) == TF_OK) {
    const auto* from = static_cast<const float*>(TF_TensorData(x));
    auto* to = static_cast<float*>(TF_TensorData(y));
    for (size_t i = 0; i < bytes / sizeof(float); ++i) to[i] = from[i] + step;
  }
  if (y != nullptr) TF_DeleteTensor(y);
}

void Compute(void* kernel, TF_OpKernelContext* context) {
  TF_Status* status = TF_NewStatus();
  TF_Tensor* x = nullptr;
  TF_GetInput(context, 0, &x, status);
  if (TF_GetCode(status) == TF_OK) {
    Add(*static_cast<const int32_t*>(kernel), context, x, status);
  }
  if (TF_GetCode(status) != TF_OK) TF_OpKernelContext_Failure(context, status);
  if (x != nullptr) TF_DeleteTensor(x);
  TF_DeleteStatus(status);
}

__attribute__((constructor)) void RegisterAll() {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder("EnvlockCApi");
  TF_OpDefinitionBuilderAddAttr(op, "step: int = 5");
  TF_OpDefinitionBuilderAddInput(op, "x: float");
  TF_OpDefinitionBuilderAddOutput(op, "y: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, TF_ShapeInferenceContextSetUnknownShape);
  TF_RegisterOpDefinition(op, status);
  if (TF_GetCode(status) == TF_OK) {
    TF_KernelBuilder* builder = TF_NewKernelBuilder("EnvlockCApi", "CPU", Create, Compute, Delete);
    TF_RegisterKernelBuilder("EnvlockCApi", builder, status);
  }
  if (TF_GetCode(status) != TF_OK) fprintf(stderr, "EnvlockCApi: %s\n", TF_Message(status));
  TF_DeleteStatus(status);
}

}  // namespace
