// SPDX-License-Identifier: Apache-2.0

#include "base/error.h"
#include "shim/state.h"

static void refuse(bool init, ProcessState state, ProcessAct act, CtrdErrorCode code, const char *text)
{
	g_autoptr(GError) error = NULL;
	g_assert_false(state_allows(init, state, act, &error));
	g_assert_cmpstr(error->message, ==, text);
	g_assert_cmpint(error_class(error), ==, code);
}

static void test_refusals(void)
{
	refuse(true, STATE_RUNNING, ACT_DELETE, CTRD_ERR_UNKNOWN, "cannot delete a running process");
	refuse(true, STATE_DELETED, ACT_DELETE, CTRD_ERR_NOT_FOUND,
	       "cannot delete a deleted process: not found");
	refuse(true, STATE_DELETED, ACT_KILL, CTRD_ERR_NOT_FOUND, "cannot kill a deleted process: not found");
	refuse(true, STATE_CREATED, ACT_PAUSE, CTRD_ERR_UNKNOWN, "cannot pause task in created state");
	refuse(true, STATE_CREATED_CHECKPOINT, ACT_EXEC, CTRD_ERR_UNKNOWN, "cannot exec in a created state");
	refuse(true, STATE_PAUSED, ACT_START, CTRD_ERR_UNKNOWN, "cannot start a paused process");
	refuse(true, STATE_STOPPED, ACT_UPDATE, CTRD_ERR_UNKNOWN, "cannot update a stopped container");
	refuse(false, STATE_STOPPED, ACT_RESIZE, CTRD_ERR_UNKNOWN, "cannot resize a stopped container");
	refuse(false, STATE_RUNNING, ACT_START, CTRD_ERR_UNKNOWN, "cannot start a running process");
}

static void test_allowed(void)
{
	g_assert_true(state_allows(true, STATE_CREATED, ACT_EXEC, NULL));
	g_assert_true(state_allows(true, STATE_PAUSED, ACT_CHECKPOINT, NULL));
	g_assert_true(state_allows(true, STATE_PAUSED, ACT_KILL, NULL));
	g_assert_true(state_allows(true, STATE_STOPPED, ACT_DELETE, NULL));
	g_assert_true(state_allows(false, STATE_CREATED, ACT_DELETE, NULL));
}

static void test_moves(void)
{
	ProcessState s = STATE_CREATED;
	state_move(&s, STATE_RUNNING);
	state_move(&s, STATE_PAUSED);
	state_move(&s, STATE_STOPPED);
	state_move(&s, STATE_DELETED);
	if (g_test_subprocess()) {
		state_move(&s, STATE_RUNNING);
		return;
	}
	g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
	g_test_trap_assert_failed();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/state/refusals", test_refusals);
	g_test_add_func("/state/allowed", test_allowed);
	g_test_add_func("/state/moves", test_moves);
	return g_test_run();
}
