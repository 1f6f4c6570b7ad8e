// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The implementation of test.proto, for tests. */

#include "rpc/client.h"
#include "rpc/server.h"
#include "test.pb-c.h"

typedef Ctrd__Test__V1__Msg TestMsg;
#define test_descriptor (&ctrd__test__v1__test__descriptor)

/* Calls that were canceled while they slept, all servers together. */
extern unsigned test_service_canceled; // atomic

void test_service_add(RpcServer *server, Loop *loop);

/* Only what never blocks, for a server without a pool. */
void test_service_add_loop(RpcServer *server, Loop *loop);

/* A message around bytes; borrowed. */
static inline TestMsg test_msg(const void *data, size_t len)
{
	TestMsg m = CTRD__TEST__V1__MSG__INIT;
	m.value.data = (uint8_t *)data;
	m.value.len = len;
	return m;
}
static inline TestMsg test_text(const char *s)
{
	return test_msg(s, __builtin_strlen(s));
}
