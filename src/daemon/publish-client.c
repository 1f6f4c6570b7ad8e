// SPDX-License-Identifier: Apache-2.0

/* `containerd publish`: how upstream's older shims, and scripts, publish an event. The payload is an Any on
 * stdin. */

#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "base/util.h"
#include "daemon/daemon.h"
#include "daemon/flags.h"
#include "google/protobuf/any.pb-c.h"
#include "loop/loop.h"
#include "rpc/client.h"
#include "services/events/v1/events.pb-c.h"
#include <stdio.h>

/* What the server would take. */
#define MAX_PAYLOAD (16u << 20)

static bool call(const char *address, const char *ns,
                 Containerd__Services__Events__V1__PublishRequest *request, GError **error)
{
	Loop *loop = loop_start("loop");
	RpcClient *client = rpc_client_new(loop, RPC_PROTO_GRPC, address);
	const RpcCallOptions options = {.ns = ns, .timeout_ns = 10 * NS_PER_SEC};
	autopb Google__Protobuf__Empty *response = NULL;
	bool ok = rpc_client_call(client, &containerd__services__events__v1__events__descriptor, "Publish",
	                          &options, request, &response, error);

	rpc_client_unref(client);
	loop_stop_join(loop);
	return ok;
}

static bool publish(const char *address, const char *ns, const char *topic, GError **error)
{
	g_autofree char *data = NULL;
	size_t len = 0;

	if (str_empty(topic))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "topic required to publish event");
	if (!fd_read_all(STDIN_FILENO, MAX_PAYLOAD, &data, &len, error))
		return false;
	autopb Google__Protobuf__Any *event = google__protobuf__any__unpack(NULL, len, (const uint8_t *)data);
	if (event == NULL)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "payload on stdin is no protobuf Any");
	Containerd__Services__Events__V1__PublishRequest request =
	        CONTAINERD__SERVICES__EVENTS__V1__PUBLISH_REQUEST__INIT;
	request.topic = (char *)topic;
	request.event = event;
	return call(address, ns, &request, error);
}

int cmd_publish(const DaemonOptions *options, int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	const char *ns = NULL, *topic = NULL;
	const Flag flags[] = {
	        {"namespace", NULL, "Namespace to publish to", &ns, NULL},
	        {"topic", NULL, "Topic of the event", &topic, NULL},
	};
	int index = 0;

	if (flags_parse(flags, G_N_ELEMENTS(flags), argc, argv, &index, &error) &&
	    publish(str_empty(options->address) ? CONFIG_DEFAULT_ADDRESS : options->address, ns, topic,
	            &error))
		return 0;
	fprintf(stderr, "containerd: %s\n", error->message);
	return 1;
}
