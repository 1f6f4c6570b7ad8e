// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The command line: a static tree of commands with flags, parsed as upstream's ctr does (urfave/cli): flags
 * stand before the first argument,
 * `--flag value`, `--flag=value`, `-f value`, one dash is as good as two, `--` ends them. Beyond upstream,
 * global flags are also understood after the command's name. Help is made from the tree. One thread.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
	FLAG_BOOL,
	FLAG_STRING,
	FLAG_STRINGS, // may be given more than once
	FLAG_INT,
	FLAG_UINT,
	FLAG_FLOAT,
	FLAG_DURATION,
} FlagType;

typedef struct {
	const char *name; // NULL ends an array
	FlagType type;
	const char *usage;
	const char *aliases[3]; // without dashes
	const char *value;      // the default as text, NULL: none
	const char *env;        // a variable that sets the default
	const char *value_name; // in help, NULL: "value"
	bool hidden;
} CliFlag;

typedef struct Cli Cli;
typedef struct CliCommand CliCommand;
struct CliCommand {
	const char *name;
	const char *aliases[6];
	const char *usage;                 // one line
	const char *arguments;             // "[flags] <ref>"
	const char *description;           // NULL: none
	const CliFlag *flags[8];           // arrays, ended by NULL: shared sets of flags
	const CliCommand *const *commands; // ended by NULL; with it run may be NULL: help
	bool (*run)(Cli *cli, GError **error);
	bool hidden;
};

/* Parses and runs. The exit status: 0, 1 after an error (printed as `ctr: text`), or what cli_exit said. */
int cli_main(const CliCommand *root, int argc, char **argv);

/* Values. A flag that the command does not have is a bug and asserts. */
bool cli_bool(Cli *cli, const char *name);
const char *cli_string(Cli *cli, const char *name); // never NULL
char **cli_strings(Cli *cli, const char *name);     // borrowed, never NULL
int64_t cli_int(Cli *cli, const char *name);
uint64_t cli_uint(Cli *cli, const char *name);
double cli_float(Cli *cli, const char *name);
int64_t cli_duration(Cli *cli, const char *name); // nanoseconds
bool cli_is_set(Cli *cli, const char *name);      // given on the command line or by its variable

int cli_n_args(Cli *cli);
const char *cli_arg(Cli *cli, int i); // "" where there are fewer
char **cli_args(Cli *cli);            // borrowed, NULL-terminated

/* Ends with this status, without an error. */
void cli_exit(Cli *cli, int status);
const CliCommand *cli_command(Cli *cli);
