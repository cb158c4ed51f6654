// The driver's side of a call: request.h says what it is for.
//
// A request is lines ("call <function>", "option <name> <value>", "array <name> <dtype> <bytes> <sizes>", "end") and
// then the arrays' bytes in that order; a reply is "result" and arrays alike, or "fault <what>".
#include "request.h"

#include <csignal>
#include <cstdio>
#include <iostream>
#include <sstream>

namespace softdp::cuda_on_cpu {

Array::Array(std::string dtype, std::vector<std::int64_t> shape, std::size_t bytes, std::size_t misalign)
    : dtype(std::move(dtype)), shape(std::move(shape)), bytes(bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 16, misalign + bytes) != 0) throw std::bad_alloc();
  memory_.reset(static_cast<std::byte*>(memory));
  data = memory_.get() + misalign;
  ASAN_POISON_MEMORY_REGION(memory, misalign);
  races::track(data, bytes);
}

Array::~Array() {
  if (memory_ != nullptr) races::forget(data);
}

class Session {
 public:
  // Whatever a driver prints goes to stderr, so that stdout holds replies alone.
  Session() : out_(fdopen(dup(1), "wb")) { dup2(2, 1); }

  void serve(const std::map<std::string, Function>& functions) {
    Request request;
    while (read(request)) {
      const std::int64_t misalign = request.integer_or("misalign", 0);
      settings = Settings();
      settings.seed = std::uint64_t(request.integer_or("seed", 0));
      settings.resident = int(request.integer_or("resident", 0));
      cuda::Card& card = settings.card;
      card.multiprocessors = int(request.integer_or("card_multiprocessors", card.multiprocessors));
      card.shared_bytes = std::size_t(request.integer_or("card_shared_bytes", std::int64_t(card.shared_bytes)));
      alarm(unsigned(request.integer_or("time_limit", 300)));
      Reply reply{std::size_t(misalign)};
      std::string fault;
      try {
        Request::find(functions, request.function_)(request, reply);
      } catch (const std::exception& error) {
        fault = error.what();
      }
      alarm(0);
      write(reply, fault);
      request = Request();
    }
  }

 private:
  static bool read(Request& request) {
    std::vector<Array*> arrived;
    for (std::string line; std::getline(std::cin, line) && line != "end";) {
      std::istringstream words(line);
      std::string what, name;
      words >> what >> name;
      if (what == "call") {
        request.function_ = name;
      } else if (what == "option") {
        std::getline(words >> std::ws, request.options_[name]);
      } else {
        std::string dtype;
        std::size_t bytes = 0;
        words >> dtype >> bytes;
        std::vector<std::int64_t> shape;
        for (std::int64_t size; words >> size;) shape.push_back(size);
        const std::size_t misalign = std::size_t(request.integer_or("misalign", 0));
        arrived.push_back(&request.arrays_.try_emplace(name, dtype, shape, bytes, misalign).first->second);
      }
    }
    for (Array* array : arrived) std::cin.read(reinterpret_cast<char*>(array->data), std::streamsize(array->bytes));
    return bool(std::cin);
  }

  void write(const Reply& reply, const std::string& fault) {
    if (!fault.empty()) {
      std::fprintf(out_, "fault %s\nend\n", fault.c_str());
    } else {
      std::fprintf(out_, "result\n");
      for (const auto& [name, array] : reply.arrays_) {
        std::fprintf(out_, "array %s %s %zu", name.c_str(), array.dtype.c_str(), array.bytes);
        for (const std::int64_t size : array.shape) std::fprintf(out_, " %lld", static_cast<long long>(size));
        std::fprintf(out_, "\n");
      }
      std::fprintf(out_, "end\n");
      for (const auto& [name, array] : reply.arrays_) std::fwrite(array.data, 1, array.bytes, out_);
    }
    std::fflush(out_);
  }

  std::FILE* out_;
};

int serve(const std::map<std::string, Function>& functions) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(tell_where);
#endif
  std::signal(SIGALRM, [](int) {
    std::fprintf(stderr, "the time limit is over\n");
    tell_where();
    _exit(1);
  });
  Session().serve(functions);
  return 0;
}

}  // namespace softdp::cuda_on_cpu
