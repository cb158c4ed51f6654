// Weights as a GPU stores them, for every mantissa of a sum and an inverse that is one unit off, as the hardware's may
// be. Prints what is wrong; ends with 0 where nothing is.
#include <cmath>
#include <cstdio>
#include <initializer_list>

#include "csrc/recurrence/weights.h"

using namespace softdp;
using Stored = StoredWeights<float>;

int main() {
  Stored::Dither least = ~0u, most = 0, dither = Stored::lane_dither(3, 0);
  for (int step = 0; step < 1000000; ++step) {
    least = dither < least ? dither : least;
    most = dither > most ? dither : most;
    dither = Stored::dither(dither, Stored::step_dither(1));
  }
  long lost = 0, kept = 0, unordered = 0, far = 0;
  for (std::uint32_t mantissa = 0; mantissa < 1u << 23; ++mantissa) {
    const float sum = std::bit_cast<float>(0x3f800000u | mantissa), nearest = 1 / sum;
    const float part = sum * (float(mantissa * 2654435761u >> 8) * 0x1p-24f);  // of the gaps, from 0 to all
    for (const float inverse : {std::nextafterf(nearest, 0.0f), nearest, std::nextafterf(nearest, 2.0f)}) {
      for (const Stored::Dither at : {least, most}) {
        std::uint32_t word;
        // No match: all mass is the gaps'. No remove, or no insert: they have none.
        Stored::store(&word, 1, Weights<float>::from_terms(0, part, sum - part, inverse), at);
        lost += word >> 16 != 65535;
        unordered += (word & 0xffff) > word >> 16;
        far += std::abs(double(word & 0xffff) - 65535.0 * part / sum) > 1.02;
        Stored::store(&word, 1, Weights<float>::from_terms(sum - part, 0, part, inverse), at);
        kept += (word & 0xffff) != 0;
        Stored::store(&word, 1, Weights<float>::from_terms(sum - part, part, 0, inverse), at);
        kept += (word & 0xffff) != word >> 16;
      }
    }
  }
  std::printf("dithers from %u to %u; %ld lost, %ld kept, %ld unordered, %ld far\n", least, most, lost, kept, unordered,
              far);
  return lost + kept + unordered + far == 0 && least < 100 && most < 65536 ? 0 : 1;
}
