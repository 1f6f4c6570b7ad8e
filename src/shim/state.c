// SPDX-License-Identifier: Apache-2.0

#include "shim/state.h"

#include "base/error.h"

const char *state_name(ProcessState state)
{
	static const char *const names[N_STATES] = {"created", "created", "running",
	                                            "paused",  "stopped", "deleted"};
	return names[state];
}

const char *act_name(ProcessAct act)
{
	static const char *const names[N_ACTS] = {"start",  "delete",     "kill", "pause", "resume",
	                                          "update", "checkpoint", "exec", "resize"};
	return names[act];
}

/* NULL: allowed. */
static const char *const init_refusals[N_ACTS][N_STATES] = {
        [ACT_START] = {NULL, NULL, "cannot start a running process", "cannot start a paused process",
                       "cannot start a stopped process", "cannot start a deleted process"},
        [ACT_DELETE] = {NULL, NULL, "cannot delete a running process", "cannot delete a paused process", NULL,
                        "cannot delete a deleted process"},
        [ACT_KILL] = {NULL, NULL, NULL, NULL, NULL, "cannot kill a deleted process"},
        [ACT_PAUSE] = {"cannot pause task in created state", "cannot pause task in created state", NULL,
                       "cannot pause a paused container", "cannot pause a stopped container",
                       "cannot pause a deleted process"},
        [ACT_RESUME] = {"cannot resume task in created state", "cannot resume task in created state",
                        "cannot resume a running process", NULL, "cannot resume a stopped container",
                        "cannot resume a deleted process"},
        [ACT_UPDATE] = {NULL, NULL, NULL, NULL, "cannot update a stopped container",
                        "cannot update a deleted process"},
        [ACT_CHECKPOINT] = {"cannot checkpoint a task in created state",
                            "cannot checkpoint a task in created state", NULL, NULL,
                            "cannot checkpoint a stopped container", "cannot checkpoint a deleted process"},
        [ACT_EXEC] = {NULL, "cannot exec in a created state", NULL, "cannot exec in a paused state",
                      "cannot exec in a stopped state", "cannot exec in a deleted state"},
        [ACT_RESIZE] = {NULL},
};

static const char *const exec_refusals[N_ACTS][N_STATES] = {
        [ACT_START] = {NULL, NULL, "cannot start a running process", NULL, "cannot start a stopped process",
                       "cannot start a deleted process"},
        [ACT_DELETE] = {NULL, NULL, "cannot delete a running process", NULL, NULL,
                        "cannot delete a deleted process"},
        [ACT_KILL] = {NULL, NULL, NULL, NULL, NULL, "cannot kill a deleted process"},
        [ACT_RESIZE] = {NULL, NULL, NULL, NULL, "cannot resize a stopped container",
                        "cannot resize a deleted process"},
};

bool state_allows(bool is_init, ProcessState state, ProcessAct act, GError **error)
{
	const char *text = (is_init ? init_refusals : exec_refusals)[act][state];
	if (text == NULL)
		return true;
	if (state == STATE_DELETED && (act == ACT_DELETE || act == ACT_KILL))
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "%s", text);
	return error_set(error, CTRD_ERR_UNKNOWN, "%s", text);
}

void state_move(ProcessState *state, ProcessState to)
{
	static const bool allowed[N_STATES][N_STATES] = {
	        [STATE_CREATED] = {[STATE_RUNNING] = true, [STATE_STOPPED] = true, [STATE_DELETED] = true},
	        [STATE_CREATED_CHECKPOINT] =
	                {[STATE_RUNNING] = true, [STATE_STOPPED] = true, [STATE_DELETED] = true},
	        [STATE_RUNNING] = {[STATE_PAUSED] = true, [STATE_STOPPED] = true},
	        [STATE_PAUSED] = {[STATE_RUNNING] = true, [STATE_STOPPED] = true},
	        [STATE_STOPPED] = {[STATE_DELETED] = true},
	};
	g_assert(allowed[*state][to]);
	*state = to;
}
