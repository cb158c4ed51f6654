// Running values of many lanes or places: a form's value is two numbers, and each lies with others of its kind.
#pragma once

#include "lanes.h"

namespace softdp::cpu {

// A running value's two numbers, each with others of its kind: `Of<X>` holds many of X.
template <class Form, template <class> class Of>
struct Values {
  static auto first_of(typename Form::Value value) {
    const auto [first, second] = value;
    return first;
  }
  static auto second_of(typename Form::Value value) {
    const auto [first, second] = value;
    return second;
  }
  Of<decltype(first_of({}))> first;
  Of<decltype(second_of({}))> second;
};

template <class X>
using Pointer = X*;

// The values from one place in memory on.
template <class Form>
struct ValuesAt : Values<Form, Pointer> {
  using Value = typename Form::Value;

  SOFTDP_INLINE Value operator[](int l) const { return {this->first[l], this->second[l]}; }
  SOFTDP_INLINE void set(int l, Value value) const {
    const auto [first, second] = value;
    this->first[l] = first;
    this->second[l] = second;
  }
  SOFTDP_INLINE void copy_pairs_to(ValuesAt to) const {
    copy_pairs(this->first, to.first);
    copy_pairs(this->second, to.second);
  }
};

template <class Form>
struct ValueLanes : Values<Form, Lanes> {
  SOFTDP_INLINE ValuesAt<Form> from_lane(std::int64_t l) {
    return {{this->first.from_lane(l), this->second.from_lane(l)}};
  }
  SOFTDP_INLINE ValuesAt<Form> upto_lane(std::int64_t l) {
    return {{this->first.upto_lane(l), this->second.upto_lane(l)}};
  }
};

template <class Form>
struct ValueLine : Values<Form, Line> {
  using Value = typename Form::Value;

  void reset(std::int64_t length, int pairs, Value value) {
    const auto [first, second] = value;
    this->first.reset(length, pairs, first);
    this->second.reset(length, pairs, second);
  }
  void set(std::int64_t place, int pair, Value value) {
    const auto [first, second] = value;
    this->first.at(place, pair) = first;
    this->second.at(place, pair) = second;
  }
  SOFTDP_INLINE ValuesAt<Form> from(std::int64_t place) {
    return {{this->first.from(place), this->second.from(place)}};
  }
  SOFTDP_INLINE ValuesAt<Form> upto(std::int64_t place) {
    return {{this->first.upto(place), this->second.upto(place)}};
  }
};

}  // namespace softdp::cpu
