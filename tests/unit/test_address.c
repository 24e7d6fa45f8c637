/* Which addresses a webhook may not reach. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/un.h>

#include "connect/address.h"

static bool is_private(const char *text) {
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in4.sin_addr) == 1) return leat_address_is_private((const struct sockaddr *)&in4);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return leat_address_is_private((const struct sockaddr *)&in6);
}

static void private_addresses(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.1", "224.0.0.1",
        "239.255.255.255", "255.255.255.255", "::", "::1", "::127.0.0.1", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.1.2.3", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:c0a8:101::1", "2001::1", "2001:db8::1", "3fff::1", "100::1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!is_private(texts[i])) fail_msg("%s", texts[i]);
    const struct sockaddr_un local = {.sun_family = AF_UNIX};
    assert_true(leat_address_is_private((const struct sockaddr *)&local));
}

static void public_addresses(void **state) {
    (void)state;
    static const char *const texts[] = {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "128.0.0.1", "172.15.255.255",
                                        "172.32.0.1", "192.167.1.1", "192.169.1.1", "198.17.1.1", "198.20.1.1", "223.255.255.255", "2606:4700::1111",
                                        "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (is_private(texts[i])) fail_msg("%s", texts[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(private_addresses), cmocka_unit_test(public_addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
