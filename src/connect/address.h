/* Which network addresses are not the outside world's. */
#ifndef LEAT_CONNECT_ADDRESS_H
#define LEAT_CONNECT_ADDRESS_H

#include <stdbool.h>

struct sockaddr;
/* This machine, private and local networks, carrier NAT, multicast, documentation, and the IPv6 forms that hold such IPv4 addresses (mapped,
 * compatible, NAT64, 6to4, Teredo); also every family but IPv4 and IPv6. Source: IANA special-purpose address registries. */
bool leat_address_is_private(const struct sockaddr *);

#endif
