/* SPDX-License-Identifier: MIT */
/* pasidctl: looks at, and changes, what pasidd keeps. */
#include "pasidctl.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PASIDD_VERSION
#define PASIDD_VERSION "0.1.0"
#endif

static const struct ctl_group *const ctl_groups[] = {
	&ctl_basic_commands,
	&ctl_view_commands,
	&ctl_doctor_commands,
	&ctl_metrics_commands,
	&ctl_run_commands,
	&ctl_history_commands,
	&ctl_explain_commands,
	&ctl_demo_commands,
};

/* ------------------------------------------------------------ help */

static void ctl_help(void)
{
	printf("Usage: pasidctl [OPTIONS] COMMAND ...\n\n"
	       "Looks at the PASIDs of this host, and changes them.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(ctl_groups); i++)
		for (size_t j = 0; j < ctl_groups[i]->count; j++)
			printf("  %-15s %s\n", ctl_groups[i]->commands[j].name,
				ctl_groups[i]->commands[j].summary);
	printf("\n  --socket PATH      where pasidd listens; default $" PASID_SOCKET_ENV
	       ", then\n"
	       "                     " PASID_SOCKET_DEFAULT
	       "; without it, the\n"
	       "                     admin.socket beside that comes first for who may open it\n"
	       "  --json             answers for programs\n"
	       "  --timeout SECONDS  wait at most so long for an answer; default 30\n"
	       "  --colour WHEN      auto (on terminals, unless NO_COLOR is set), always or never\n"
	       "  --version          print the version and end\n"
	       "  --help             print this and end; COMMAND --help for more about one\n\n"
	       "Numbers are decimal, or hexadecimal with 0x. A set is named, or id:N.\n\n"
	       "Examples:\n"
	       "  pasidctl status\n"
	       "  pasidctl --json pasids --set vm1\n"
	       "  pasidctl who 1024\n"
	       "  pasidctl bind --help\n\n"
	       "Exit status: 0 done; 1 the daemon refused, and says why on standard error, or what fsck,\n"
	       "doctor, explain or history looked at is not in order; 2 wrong command line; 3 no daemon;\n"
	       "4 something else failed, such as no answer in time.\n");
}

static void ctl_command_help(FILE *to, const struct ctl_command *command)
{
	const char *end = command->summary + strlen(command->summary) - 1;
	(void)fprintf(to, "Usage: pasidctl %s%s%s\n\n%c%s%s\n\n%s", command->name,
		command->arguments[0] != '\0' ? " " : "", command->arguments,
		command->summary[0] - ('a' - 'A'), command->summary + 1, *end == '?' ? "" : ".",
		command->help);
}

/* ------------------------------------------------------------ errors */

int ctl_usage(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("pasidctl: ", stderr);
	vfprintf(stderr, format, args);
	fputs("; see pasidctl --help\n", stderr);
	va_end(args);
	return EXIT_USAGE;
}

/* What a failure means to whoever reads our exit code. */
int ctl_exit_code(int code)
{
	if (code == PASID_PENDING)
		return EXIT_FAILED;
	if (code > 0)
		return EXIT_REFUSED;
	switch (-code) {
	case ENOENT:
	case ECONNREFUSED:
	case ENOTCONN:
	case ECONNRESET:
	case EPIPE:
	case EACCES:
		return EXIT_NO_DAEMON;
	default:
		return EXIT_FAILED;
	}
}

int ctl_failed(struct ctl *ctl, int code)
{
	struct pasid_error error = *pasid_last_error(ctl->client);
	if (error.code != code)
		error = (struct pasid_error){.code = code, .reason = "failed"};
	/* The daemon's advice, the same request again, is for a session that lasts longer. */
	if (code == PASID_PENDING)
		(void)snprintf(error.message, sizeof(error.message),
			"the time is over, the daemon goes on with it: `pasidctl status` says what "
			"hangs, `pasidctl devices` and `pasidctl bindings` what became of it");
	ctl_print_error(ctl, &error);
	return ctl_exit_code(code);
}

int ctl_cannot(const struct ctl *ctl, int exit_code, const char *format, ...)
{
	struct pasid_error error = {.code = -EIO, .reason = "failed"};
	va_list args;
	va_start(args, format);
	(void)vsnprintf(error.message, sizeof(error.message), format, args);
	va_end(args);
	ctl_print_error(ctl, &error);
	return exit_code;
}

/* ------------------------------------------------------------ main */

static bool ctl_is(const struct ctl_command *command, const char *const *words, size_t count,
	size_t *ret_words)
{
	const char *space = strchr(command->name, ' ');
	if (space == NULL) {
		*ret_words = 1;
		return count >= 1 && strcmp(command->name, words[0]) == 0;
	}
	*ret_words = 2;
	size_t first = (size_t)(space - command->name);
	return count >= 2 && strlen(words[0]) == first &&
	       strncmp(command->name, words[0], first) == 0 && strcmp(space + 1, words[1]) == 0;
}

const struct ctl_command *ctl_find(const char *const *words, size_t word_count, size_t *ret_words)
{
	for (size_t i = 0; i < ARRAY_SIZE(ctl_groups); i++)
		for (size_t j = 0; j < ctl_groups[i]->count; j++)
			if (ctl_is(&ctl_groups[i]->commands[j], words, word_count, ret_words))
				return &ctl_groups[i]->commands[j];
	return NULL;
}

/* The commands of two words that begin with this one are named. */
static int ctl_unknown(const struct ctl *ctl)
{
	const char *first = ctl->words[0];
	const size_t length = strlen(first);
	char names[160] = "";
	size_t used = 0;
	for (size_t i = 0; i < ARRAY_SIZE(ctl_groups); i++) {
		for (size_t j = 0; j < ctl_groups[i]->count; j++) {
			const char *name = ctl_groups[i]->commands[j].name;
			if (strncmp(name, first, length) != 0 || name[length] != ' ' ||
				used >= sizeof(names))
				continue;
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
				used > 0 ? ", " : "", name);
		}
	}
	if (used == 0)
		return ctl_usage("there is no command \"%s\"", first);
	if (ctl->word_count == 1)
		return ctl_usage("\"%s\" is no whole command: %s", first, names);
	return ctl_usage("there is no command \"%s %s\": %s", first, ctl->words[1], names);
}

static int ctl_check(const struct ctl *ctl)
{
	const struct ctl_command *command = ctl->command;
	if (ctl->given & ~command->options)
		return ctl_usage("%s takes %s", command->name,
			command->arguments[0] ? command->arguments : "no options");
	if ((ctl->given & command->followers) && !(ctl->given & command->leader))
		return ctl_usage("%s takes %s", command->name, command->arguments);
	if (command->required & ~ctl->given & CTL_CONFIRM) {
		ctl_command_help(stderr, command);
		return ctl_usage("%s does nothing without %s", command->name, command->arguments);
	}
	if (command->required & ~ctl->given)
		return ctl_usage("%s needs --set NAME", command->name);
	if (command->runs_other && (ctl->others == NULL || ctl->others[0] == NULL))
		return ctl_usage("%s takes %s", command->name, command->arguments);
	if (ctl->arg_count < command->min_args || ctl->arg_count > command->max_args)
		return ctl_usage("%s takes %s", command->name,
			command->arguments[0] ? command->arguments : "no words");
	return EXIT_DONE;
}

static const char *ctl_role_text(enum pasid_role role)
{
	return role == PASID_ROLE_ADMIN         ? "admin"
	       : role == PASID_ROLE_OBSERVER    ? "observer"
	       : role == PASID_ROLE_PARTICIPANT ? "participant"
						: "VMM";
}

/* Connects with the first role of the command's that is allowed. */
static int ctl_open(struct ctl *ctl, const char *path, struct pasid_error *ret_error)
{
	struct pasid_options options = {
		.path = path, .name = "pasidctl", .timeout_ms = ctl->timeout_ms};
	int r = PASID_DENIED;
	for (size_t i = 0; i < ARRAY_SIZE(ctl->command->roles); i++) {
		options.role = ctl->command->roles[i];
		if (options.role == 0)
			break;
		/* An observer's session ends with its connection: there is nothing to wait for. */
		options.resume_ms = options.role == PASID_ROLE_OBSERVER;
		r = pasid_open(&options, &ctl->client, ret_error);
		ctl->role = options.role;
		if (r != PASID_DENIED)
			break;
	}
	return r;
}

int ctl_open_any(struct ctl *ctl, struct pasid_error *ret_error)
{
	char admin[128];
	int r = -1;
	if (ctl_admin_socket(ctl, admin, sizeof(admin)))
		r = ctl_open(ctl, admin, ret_error);
	if (r != 0) /* what is wrong with that one is no concern of who may use the other */
		r = ctl_open(ctl, ctl->socket, ret_error);
	return r;
}

int ctl_connect(struct ctl *ctl)
{
	struct pasid_error error = {0};
	int r = ctl_open_any(ctl, &error);
	if (r == 0 && ctl->role == PASID_ROLE_VMM)
		fputs("pasidctl: you may not observe this host: shown is only what a VMM sees\n",
			stderr);
	if (r == PASID_DENIED)
		fprintf(stderr, "pasidctl: %s needs the role %s\n", ctl->command->name,
			ctl_role_text(ctl->command->roles[0]));
	if (r != 0)
		ctl_print_error(ctl, &error);
	return r == 0 ? EXIT_DONE : ctl_exit_code(r);
}

static int ctl_run(struct ctl *ctl)
{
	int code = ctl_check(ctl);
	if (code == EXIT_DONE && !ctl->command->offline)
		code = ctl_connect(ctl);
	if (code == EXIT_DONE)
		code = ctl->command->run(ctl);
	if (code == EXIT_DONE)
		ctl_print(ctl);
	json_decref(ctl->answer);
	pasid_close(ctl->client);
	if (fflush(stdout) != 0 && code == EXIT_DONE)
		code = EXIT_FAILED;
	return code;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {0};
	size_t name_words;
	signal(SIGPIPE, SIG_IGN);
	if (ctl_parse(&ctl, argc, argv) != EXIT_DONE)
		return EXIT_USAGE;
	if (ctl.version) {
		puts("pasidctl " PASIDD_VERSION);
		return EXIT_DONE;
	}
	ctl.command = ctl_find(ctl.words, ctl.word_count, &name_words);
	if (ctl.help) {
		if (ctl.command != NULL)
			ctl_command_help(stdout, ctl.command);
		else
			ctl_help();
		return EXIT_DONE;
	}
	if (ctl.word_count == 0)
		return ctl_usage("what is to be done?");
	if (ctl.command == NULL)
		return ctl_unknown(&ctl);
	ctl.args = ctl.words + name_words;
	ctl.arg_count = ctl.word_count - name_words;
	return ctl_run(&ctl);
}
