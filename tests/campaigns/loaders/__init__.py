"""Every loader that people run on: tiny libraries through its own dlopen, beside the prediction."""
