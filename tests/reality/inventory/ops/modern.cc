// Needs a recent libstdc++: from GCC 11 on, std::allocator calls
// std::__throw_bad_array_new_length (GLIBCXX_3.4.29).
#include <memory>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"

REGISTER_OP("EnvlockModern").Input("x: int32").Output("y: int32");

class Modern : public tensorflow::OpKernel {
 public:
  explicit Modern(tensorflow::OpKernelConstruction* construction) : OpKernel(construction) {}

  void Compute(tensorflow::OpKernelContext* context) override {
    const std::size_t count = context->input(0).NumElements();
    std::allocator<long> allocator;
    long* room = allocator.allocate(count);
    asm volatile("" : : "r"(room) : "memory");
    allocator.deallocate(room, count);
    context->set_output(0, context->input(0));
  }
};

REGISTER_KERNEL_BUILDER(Name("EnvlockModern").Device(tensorflow::DEVICE_CPU), Modern);
