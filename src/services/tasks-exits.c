// SPDX-License-Identifier: Apache-2.0

/* Exits of tasks as events: those that we tell in place of a shim that is gone, and those that shims tell. */

#include "api/message.h"
#include "events/task.pb-c.h"
#include "services/convert.h"
#include "services/event-pack.h"
#include "services/services.h"

void tasks_publish_gone(const char *ns, const char *id, const TaskExit *exit, bool exit_told, void *exchange)
{
	g_autoptr(Arena) arena = arena_new();
	Ctx ctx = {.ns = ns};
	Containerd__Events__TaskExit gone = CONTAINERD__EVENTS__TASK_EXIT__INIT;
	gone.container_id = id;
	gone.id = id;
	gone.pid = exit->pid;
	gone.exit_status = exit->status;
	gone.exited_at = pb_time_out(arena, exit->exited_at);
	if (!exit_told)
		event_publish(exchange, &ctx, "/tasks/exit", &gone.base);
	Containerd__Events__TaskDelete deleted = CONTAINERD__EVENTS__TASK_DELETE__INIT;
	deleted.container_id = id;
	deleted.pid = exit->pid;
	deleted.exit_status = exit->status;
	deleted.exited_at = gone.exited_at;
	event_publish(exchange, &ctx, "/tasks/delete", &deleted.base);
}

/* Under the exchange's lock. */
static bool note_exit(Envelope *envelope, void *data)
{
	gsize len = 0;
	const void *packed =
	        envelope->event.value != NULL ? g_bytes_get_data(envelope->event.value, &len) : NULL;
	autopb Containerd__Events__TaskExit *e =
	        api_unpack(&containerd__events__task_exit__descriptor, NULL, packed, len, NULL);
	// an exec's has another id
	if (e != NULL && g_strcmp0(e->id, e->container_id) == 0) {
		const TaskExit exit = {.pid = e->pid,
		                       .status = e->exit_status,
		                       .exited_at = e->exited_at != NULL
		                                            ? e->exited_at->seconds * NS_PER_SEC +
		                                                      e->exited_at->nanos
		                                            : 0};
		tasks_note_exit(data, envelope->ns, e->container_id, &exit);
	}
	return true;
}

uint64_t tasks_watch_exits(Tasks *tasks, Exchange *exchange, GError **error)
{
	static const char *const filters[] = {"topic==\"/tasks/exit\"", NULL};
	return exchange_subscribe(exchange, filters, note_exit, NULL, tasks, error);
}
