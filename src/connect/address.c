/* Special-purpose addresses. */
#include "connect/address.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <netinet/in.h>

struct range { uint8_t bytes[16]; uint8_t bits; };

static const struct range ranges4[] = {
    {{0}, 8},              {{10}, 8},          {{100, 64}, 10},     {{127}, 8},           {{169, 254}, 16},    {{172, 16}, 12},  {{192, 0, 0}, 24},
    {{192, 0, 2}, 24},     {{192, 88, 99}, 24}, {{192, 168}, 16},    {{198, 18}, 15},      {{198, 51, 100}, 24}, {{203, 0, 113}, 24}, {{224}, 4},
    {{240}, 4},
};
/* Only 2000::/3 is given out; within it what is special. */
static const struct range ranges6[] = {
    {{0x20, 0x01, 0, 0}, 23},          /* IETF protocols, Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32},    /* documentation */
    {{0x3f, 0xff}, 20},
};

static bool in_range(const uint8_t *address, const struct range *range) {
    size_t whole = range->bits / 8, rest = range->bits % 8;
    if (memcmp(address, range->bytes, whole) != 0) return false;
    return !rest || (address[whole] ^ range->bytes[whole]) >> (8 - rest) == 0;
}

static bool is_private4(const uint8_t *address) {
    for (size_t i = 0; i < sizeof ranges4 / sizeof *ranges4; i++)
        if (in_range(address, &ranges4[i])) return true;
    return false;
}

static bool is_private6(const uint8_t *address) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0, 0x64, 0xff, 0x9b};
    if (memcmp(address, mapped, 12) == 0 || memcmp(address, nat64, 12) == 0) return is_private4(address + 12);
    if (address[0] == 0x20 && address[1] == 0x02) return is_private4(address + 2); /* 6to4 */
    if ((address[0] & 0xe0) != 0x20) return true;
    for (size_t i = 0; i < sizeof ranges6 / sizeof *ranges6; i++)
        if (in_range(address, &ranges6[i])) return true;
    return false;
}

bool leat_address_is_private(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in4;
        memcpy(&in4, address, sizeof in4);
        return is_private4((const uint8_t *)&in4.sin_addr);
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return is_private6(in6.sin6_addr.s6_addr);
    }
    return true;
}
