// SPDX-License-Identifier: Apache-2.0
#include "ctr/util.h"
#include "message.h"
#include "registry.h"
#include "services/events/v1/events.pb-c.h"
#include <stdio.h>
#include <string.h>

/* "2006-01-02 15:04:05.999999999 +0000 UTC", as Go prints a time. */
static char *go_time(TimeNs t)
{
	g_autofree char *rfc = time_format_rfc3339(t);
	rfc[10] = ' ';
	rfc[strlen(rfc) - 1] = '\0';
	return g_strdup_printf("%s +0000 UTC", rfc);
}

static char *event_text(const Google__Protobuf__Any *any)
{
	if (any == NULL)
		return g_strdup("");
	autopb ProtobufCMessage *m = api_any_unpack_known(any, NULL, NULL);
	if (m == NULL)
		return NULL;
	g_autoptr(JsonObject) o = message_to_json(m);
	return json_to_text(o);
}

static bool events_run(Cli *cli, GError **error)
{
	Containerd__Services__Events__V1__SubscribeRequest req =
	        CONTAINERD__SERVICES__EVENTS__V1__SUBSCRIBE_REQUEST__INIT;
	req.filters = (const char **)cli_args(cli);
	req.n_filters = (size_t)cli_n_args(cli);
	g_autoptr(RpcStream) stream = ctr_stream(cli, &containerd__services__events__v1__events__descriptor,
	                                         "Subscribe", RPC_SERVER_STREAM, &req, error);
	if (stream == NULL)
		return false;
	for (;;) {
		autopb Containerd__Types__Envelope *e = NULL;
		if (!rpc_stream_recv(stream, &e, error))
			return false;
		if (e == NULL)
			return true;
		g_autofree char *text = event_text(e->event);
		if (text == NULL) {
			fprintf(stderr, "ctr: cannot read an event of type %s\n", e->event->type_url);
			continue;
		}
		g_autofree char *at = go_time(time_in(e->timestamp));
		printf("%s %s %s %s\n", at, e->namespace_, e->topic, text);
		/* somebody may be waiting for the line at the other end of a pipe */
		fflush(stdout);
	}
}

const CliCommand cmd_events = {
        .name = "events",
        .aliases = {"event"},
        .usage = "Display containerd events",
        .arguments = "[<filter>, ...]",
        .run = events_run,
};
