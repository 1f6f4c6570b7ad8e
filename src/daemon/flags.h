// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Command lines as Go's flag package takes them: `-name value`, `--name=value`, one or two dashes alike, up
 * to the first argument without a dash or `--`. No state; any thread.
 */

#include <glib.h>
#include <stdbool.h>

typedef struct {
	const char *name;  // "log-level"
	const char *alias; // "l" or NULL
	const char *usage;
	const char **value; // a string flag; borrowed from argv
	bool *set;          // a flag without a value; or with value: whether it was given
} Flag;

/* *index is where to begin and, afterwards, the first argument that is no flag. Error texts as Go's: `flag
 * provided but not defined: -x`, `flag needs an argument: -x`, `bad flag syntax: ---x`, `invalid boolean
 * value "x" for -y: parse error`. */
bool flags_parse(const Flag *flags, size_t n, int argc, char **argv, int *index, GError **error);
/* Appends one line for each flag as urfave/cli prints them. */
void flags_usage(const Flag *flags, size_t n, GString *out);
