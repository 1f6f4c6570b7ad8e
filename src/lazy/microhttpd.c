// SPDX-License-Identifier: Apache-2.0
/* libmicrohttpd, with GnuTLS, as daemon/http-server.c calls it: metrics and the debug socket. */
#include "lazy/bind.h"
#include <microhttpd.h>
#include <stdarg.h>

#define LIBRARY "libmicrohttpd.so.12"

FORWARD(const char *, MHD_lookup_connection_value,
        (struct MHD_Connection * connection, enum MHD_ValueKind kind, const char *key),
        (connection, kind, key))
FORWARD(struct MHD_Response *, MHD_create_response_from_buffer,
        (size_t size, void *buffer, enum MHD_ResponseMemoryMode mode), (size, buffer, mode))
FORWARD(enum MHD_Result, MHD_add_response_header,
        (struct MHD_Response * response, const char *header, const char *content),
        (response, header, content))
FORWARD(enum MHD_Result, MHD_queue_response,
        (struct MHD_Connection * connection, unsigned int status, struct MHD_Response *response),
        (connection, status, response))
FORWARD(void, MHD_destroy_response, (struct MHD_Response * response), (response))
FORWARD(MHD_socket, MHD_quiesce_daemon, (struct MHD_Daemon * daemon), (daemon))
FORWARD(void, MHD_stop_daemon, (struct MHD_Daemon * daemon), (daemon))

/* What we ask of a connection takes no argument. */
const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *connection,
                                                        enum MHD_ConnectionInfoType type, ...)
{
	BIND(const union MHD_ConnectionInfo *, MHD_get_connection_info,
	     (struct MHD_Connection *, enum MHD_ConnectionInfoType, ...));
	return f(connection, type);
}

struct MHD_Daemon *MHD_start_daemon(unsigned int flags, uint16_t port, MHD_AcceptPolicyCallback accept,
                                    void *accept_data, MHD_AccessHandlerCallback handler, void *handler_data,
                                    ...)
{
	BIND(struct MHD_Daemon *, MHD_start_daemon_va,
	     (unsigned int, uint16_t, MHD_AcceptPolicyCallback, void *, MHD_AccessHandlerCallback, void *,
	      va_list));
	va_list options;
	va_start(options, handler_data);
	struct MHD_Daemon *daemon = f(flags, port, accept, accept_data, handler, handler_data, options);
	va_end(options);
	return daemon;
}
