// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The socket on which an OCI runtime hands over a terminal's master (--console-socket): one connection, one
 * message with one fd. The socket lies in a directory of its own that goes with it. Loop's thread only.
 */

#include "loop/loop.h"
#include <glib.h>

typedef struct ConsoleSocket ConsoleSocket;

ConsoleSocket *console_socket_new(Loop *loop, GError **error);
const char *console_socket_path(const ConsoleSocket *socket);
/* done gets the master (non-blocking, the receiver's) or an error, at once where it is there already. At most
 * timeout_ns. */
typedef void (*ConsoleFn)(int master, GError *error, void *data);
void console_socket_receive(ConsoleSocket *socket, int64_t timeout_ns, ConsoleFn done, void *data);
void console_socket_free(ConsoleSocket *socket);
