// InputIterator: makes a range of anything whose next() gives std::optional<Value>, nothing at its end.
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>

namespace futured::client {

template <typename From, typename Value>
class InputIterator {
 public:
  using value_type = Value;
  using difference_type = std::ptrdiff_t;
  InputIterator() = default;
  explicit InputIterator(From* from) : from_(from), current_(from->next()) {}
  const Value& operator*() const { return *current_; }
  const Value* operator->() const { return &*current_; }
  InputIterator& operator++() {
    current_ = from_->next();
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const InputIterator& it, std::default_sentinel_t) { return !it.current_.has_value(); }

 private:
  From* from_ = nullptr;
  std::optional<Value> current_;
};

}  // namespace futured::client
