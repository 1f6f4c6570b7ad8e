// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * TLS for the gRPC server on TCP: OpenSSL over memory, so that the connection's loop does all I/O and nothing
 * blocks. As upstream's (crypto/tls under grpc-go's credentials.NewTLS): TLS 1.2 and up, forward secrecy, and
 * ALPN "h2" is demanded. A library of its own (rpc_tls_dep): the shim and ctr do not link OpenSSL's libssl.
 */

#include "rpc/conn.h"
#include "rpc/server.h"

/* ca NULL or empty: clients need no certificate; else one that these sign. Paths of PEM files. Texts as
 * upstream's: `open PATH: no such file or directory`, `failed to load CA file: ...`, `tls: private key does
 * not match public key`. Any thread. */
RpcTls *rpc_tls_new(const char *cert, const char *key, const char *ca, GError **error);
/* After the server that uses it. */
void rpc_tls_free(RpcTls *tls);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcTls, rpc_tls_free)

/* For server.c: one connection's side. Weak, for programs without rpc_tls_dep. */
RpcCrypt *rpc_tls_accept(RpcTls *tls) __attribute__((weak));
