// SPDX-License-Identifier: Apache-2.0
#include "rpc/status.h"

#include "base/error.h"
#include <string.h>

/* errgrpc's table in both directions; the class of FAILED_PRECONDITION is refined by the text's end. */
static const struct {
	RpcStatusCode code;
	CtrdErrorCode class;
} table[] = {
        {RPC_CANCELLED, CTRD_ERR_CANCELED},
        {RPC_UNKNOWN, CTRD_ERR_UNKNOWN},
        {RPC_INVALID_ARGUMENT, CTRD_ERR_INVALID_ARGUMENT},
        {RPC_DEADLINE_EXCEEDED, CTRD_ERR_DEADLINE_EXCEEDED},
        {RPC_NOT_FOUND, CTRD_ERR_NOT_FOUND},
        {RPC_ALREADY_EXISTS, CTRD_ERR_ALREADY_EXISTS},
        {RPC_PERMISSION_DENIED, CTRD_ERR_PERMISSION_DENIED},
        {RPC_RESOURCE_EXHAUSTED, CTRD_ERR_RESOURCE_EXHAUSTED},
        {RPC_FAILED_PRECONDITION, CTRD_ERR_FAILED_PRECONDITION},
        {RPC_FAILED_PRECONDITION, CTRD_ERR_CONFLICT},
        {RPC_FAILED_PRECONDITION, CTRD_ERR_NOT_MODIFIED},
        {RPC_ABORTED, CTRD_ERR_ABORTED},
        {RPC_OUT_OF_RANGE, CTRD_ERR_OUT_OF_RANGE},
        {RPC_UNIMPLEMENTED, CTRD_ERR_NOT_IMPLEMENTED},
        {RPC_INTERNAL, CTRD_ERR_INTERNAL},
        {RPC_UNAVAILABLE, CTRD_ERR_UNAVAILABLE},
        {RPC_DATA_LOSS, CTRD_ERR_DATA_LOSS},
        {RPC_UNAUTHENTICATED, CTRD_ERR_UNAUTHENTICATED},
};

RpcStatusCode rpc_status_of(const GError *error)
{
	if (error == NULL)
		return RPC_OK;
	CtrdErrorCode class = error_class(error);
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (table[i].class == class)
			return table[i].code;
	return RPC_UNKNOWN;
}

const char *rpc_status_name(RpcStatusCode code)
{
	static const char *const names[] = {
	        "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
	        "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
	        "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
	        "DataLoss", "Unauthenticated",
	};
	return (unsigned)code < G_N_ELEMENTS(names) ? names[code] : "Unknown";
}

static bool ends_with_class(const char *message, CtrdErrorCode class)
{
	const char *text = error_class_text(class);
	size_t len = strlen(message), n = strlen(text);
	if (len == n)
		return strcmp(message, text) == 0;
	return len >= n + 2 && strcmp(message + len - n, text) == 0 &&
	       memcmp(message + len - n - 2, ": ", 2) == 0;
}

static CtrdErrorCode class_of(RpcStatusCode code, const char *message)
{
	if (code == RPC_FAILED_PRECONDITION && ends_with_class(message, CTRD_ERR_CONFLICT))
		return CTRD_ERR_CONFLICT;
	if (code == RPC_FAILED_PRECONDITION && ends_with_class(message, CTRD_ERR_NOT_MODIFIED))
		return CTRD_ERR_NOT_MODIFIED;
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (table[i].code == code)
			return table[i].class;
	return CTRD_ERR_UNKNOWN;
}

bool rpc_status_to_error(RpcStatusCode code, const char *message, GError **error)
{
	if (message == NULL)
		message = "";
	return error_set(error, class_of(code, message), "%s", message);
}
