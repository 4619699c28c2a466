/* XXH64 over a byte string, after the published description (xxHash, "xxhash_spec.md", XXH64); agrees with ../xxh64.py bit for bit. */
#ifndef SHUREN_XXH64_H
#define SHUREN_XXH64_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const uint64_t P1 = UINT64_C(0x9E3779B185EBCA87), P2 = UINT64_C(0xC2B2AE3D27D4EB4F), P3 = UINT64_C(0x165667B19E3779F9),
                      P4 = UINT64_C(0x85EBCA77C2B2AE63), P5 = UINT64_C(0x27D4EB2F165667C5);

static inline uint64_t rotl64(uint64_t x, int r) { return (x << r) | (x >> (64 - r)); }

static inline uint64_t read64(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline uint32_t read32(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}

static inline uint64_t xxh_round(uint64_t acc, uint64_t lane) { return rotl64(acc + lane * P2, 31) * P1; }

static inline uint64_t xxh_merge(uint64_t acc, uint64_t lane) { return (acc ^ xxh_round(0, lane)) * P1 + P4; }

static inline uint64_t xxh64(const unsigned char *p, size_t length, uint64_t seed) {
    const unsigned char *end = p + length;
    uint64_t h;
    if (length >= 32) {
        uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
        const unsigned char *last = end - 32;
        do {
            a = xxh_round(a, read64(p));
            b = xxh_round(b, read64(p + 8));
            c = xxh_round(c, read64(p + 16));
            d = xxh_round(d, read64(p + 24));
            p += 32;
        } while (p <= last);
        h = rotl64(a, 1) + rotl64(b, 7) + rotl64(c, 12) + rotl64(d, 18);
        h = xxh_merge(h, a);
        h = xxh_merge(h, b);
        h = xxh_merge(h, c);
        h = xxh_merge(h, d);
    } else {
        h = seed + P5;
    }
    h += (uint64_t)length;
    for (; end - p >= 8; p += 8) h = rotl64(h ^ xxh_round(0, read64(p)), 27) * P1 + P4;
    if (end - p >= 4) {
        h = rotl64(h ^ (uint64_t)read32(p) * P1, 23) * P2 + P3;
        p += 4;
    }
    for (; p < end; p++) h = rotl64(h ^ *p * P5, 11) * P1;
    h = (h ^ (h >> 33)) * P2;
    h = (h ^ (h >> 29)) * P3;
    return h ^ (h >> 32);
}

#endif
