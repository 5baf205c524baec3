/* SPDX-License-Identifier: MIT */
/* What the kernel is, what it was built with and what it was told when it was booted. */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define VERSION_MAX 999

/* What pasidd uses, and since when it is there. */
static const struct {
	unsigned major, minor;
	const char *what;
	bool needed; /* for PASIDs at all */
} kernel_features[] = {
	{6, 15, "PASIDs attached by user space", true},
	{6, 14, "memory charged anew after a hand-over", false},
	{6, 13, "guests' tables on SMMUv3", false},
	{6, 8, "guests' tables on VT-d", false},
	{6, 6, "device nodes of VFIO", true},
	{6, 5, "pidfds of peers", false},
};

bool doctor_version(const char *release, unsigned *ret_major, unsigned *ret_minor)
{
	unsigned long major, minor;
	char *end;

	if (!release || release[0] < '0' || release[0] > '9')
		return false;
	major = strtoul(release, &end, 10);
	if (*end != '.' || end[1] < '0' || end[1] > '9')
		return false;
	minor = strtoul(end + 1, NULL, 10);
	if (major > VERSION_MAX || minor > VERSION_MAX)
		return false;
	*ret_major = (unsigned)major;
	*ret_minor = (unsigned)minor;
	return true;
}

/* The names of what is missing, as far as there is room. */
static void kernel_missing(unsigned major, unsigned minor, char *ret_text, size_t size)
{
	size_t used = 0;

	ret_text[0] = '\0';
	for (size_t i = 0; i < COUNT(kernel_features) && used < size; i++) {
		if (major > kernel_features[i].major ||
			(major == kernel_features[i].major && minor >= kernel_features[i].minor))
			continue;
		used += (size_t)snprintf(ret_text + used, size - used, "%s%s (%u.%u)",
			used > 0 ? ", " : "", kernel_features[i].what, kernel_features[i].major,
			kernel_features[i].minor);
	}
}

void doctor_check_kernel(struct doctor_report *report, const char *release)
{
	char missing[DOCTOR_TEXT_MAX];
	unsigned major, minor;

	if (!doctor_version(release, &major, &minor)) {
		doctor_add(report, DOCTOR_UNKNOWN, "kernel", NULL, "its version cannot be read");
		return;
	}
	kernel_missing(major, minor, missing, sizeof(missing));
	if (missing[0] != '\0')
		doctor_add(report, DOCTOR_PROBLEM, "kernel",
			"boot Linux 6.15 or later, or a distribution's kernel that says it has these; "
			"without, pasidd can only simulate",
			"Linux %u.%u comes without: %s", major, minor, missing);
	else
		doctor_add(report, DOCTOR_OK, "kernel", NULL,
			"Linux %u.%u: PASIDs can be attached by user space", major, minor);
}

/* ------------------------------------------------------------ how it was built */

char doctor_config(const char *config, const char *key)
{
	size_t length = strlen(key);

	if (!config)
		return 0;
	for (const char *at = config; (at = strstr(at, key)) != NULL; at += length) {
		bool begins = at == config || at[-1] == '\n';

		if (begins && at[length] == '=' && (at[length + 1] == 'y' || at[length + 1] == 'm'))
			return at[length + 1];
	}
	return 'n';
}

void doctor_check_config(struct doctor_report *report, const char *config)
{
	static const char *const keys[] = {
		"CONFIG_IOMMUFD", "CONFIG_VFIO_DEVICE_CDEV", "CONFIG_VFIO_PCI"};
	char missing[128] = "";
	size_t used = 0;

	if (!config) {
		doctor_add(report, DOCTOR_UNKNOWN, "kernel-config", NULL,
			"the kernel's configuration is neither in /boot nor in /lib/modules");
		return;
	}
	for (size_t i = 0; i < COUNT(keys); i++)
		if (doctor_config(config, keys[i]) == 'n')
			used += (size_t)snprintf(
				missing + used, sizeof(missing) - used, " %s", keys[i]);
	if (used > 0)
		doctor_add(report, DOCTOR_PROBLEM, "kernel-config",
			"boot a kernel that is built with them", "the kernel is built without%s",
			missing);
	else
		doctor_add(report, DOCTOR_OK, "kernel-config", NULL,
			"iommufd, VFIO's device nodes and vfio-pci are built");
}

/* ------------------------------------------------------------ the command line */

bool doctor_word(const char *command_line, const char *word, char *ret_value, size_t size)
{
	size_t length = strlen(word);
	bool found = false;

	for (const char *at = command_line; at && *at != '\0';) {
		size_t end = strcspn(at, " \n");

		if (end >= length && strncmp(at, word, length) == 0 &&
			(end == length || at[length] == '=')) {
			size_t skip = end == length ? length : length + 1;

			(void)snprintf(ret_value, size, "%.*s", (int)(end - skip), at + skip);
			found = true;
		}
		at += end;
		at += strspn(at, " \n");
	}
	return found;
}

/* Is it one of the values, which commas separate? */
static bool kernel_has_value(const char *values, const char *value)
{
	size_t length = strlen(value);

	for (const char *at = values; *at != '\0';) {
		size_t end = strcspn(at, ",");

		if (end == length && strncmp(at, value, length) == 0)
			return true;
		at += end;
		at += *at == ',';
	}
	return false;
}

static void kernel_scalable(struct doctor_report *report, const char *values, const char *config)
{
	static const char remedy[] =
		"add intel_iommu=on,sm_on to the kernel command line and reboot";
	char built = doctor_config(config, "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON");

	if (kernel_has_value(values, "sm_off"))
		doctor_add(report, DOCTOR_PROBLEM, "scalable-mode", remedy,
			"the command line switches scalable mode off (sm_off)");
	else if (kernel_has_value(values, "sm_on"))
		doctor_add(report, DOCTOR_OK, "scalable-mode", NULL,
			"switched on by the command line");
	else if (built == 'y')
		doctor_add(report, DOCTOR_OK, "scalable-mode", NULL, "on, unless told otherwise");
	else if (built == 'n')
		doctor_add(report, DOCTOR_PROBLEM, "scalable-mode", remedy,
			"off: the kernel is built so, and the command line does not switch it on");
	else
		doctor_add(report, DOCTOR_UNKNOWN, "scalable-mode", remedy,
			"the command line does not switch it on, and what the kernel was built with is not known");
}

static bool kernel_iommu_off(const char *command_line, const char **ret_word)
{
	static const struct {
		const char *word, *text;
	} words[] = {{"intel_iommu", "intel_iommu=off"}, {"iommu", "iommu=off"}};
	char value[64];

	for (size_t i = 0; i < COUNT(words); i++) {
		*ret_word = words[i].text;
		if (doctor_word(command_line, words[i].word, value, sizeof(value)) &&
			kernel_has_value(value, "off"))
			return true;
	}
	return false;
}

static void kernel_passthrough(struct doctor_report *report, const char *command_line)
{
	char value[64];
	bool pt = doctor_word(command_line, "iommu.passthrough", value, sizeof(value)) &&
		  strcmp(value, "0") != 0;

	if (doctor_word(command_line, "iommu", value, sizeof(value)))
		pt = pt || kernel_has_value(value, "pt");
	if (pt)
		doctor_add(report, DOCTOR_OK, "passthrough", NULL,
			"the host's own devices bypass the IOMMU (iommu=pt); those that VMs get do not");
}

void doctor_check_command_line(struct doctor_report *report, const char *command_line,
	const char *config, enum doctor_iommu iommu)
{
	char value[64] = "";
	const char *word;

	if (!command_line) {
		doctor_add(report, DOCTOR_UNKNOWN, "command-line", NULL,
			"/proc/cmdline cannot be read");
		return;
	}
	if (kernel_iommu_off(command_line, &word))
		doctor_add(report, DOCTOR_PROBLEM, "command-line",
			"take it away; on Intel say intel_iommu=on,sm_on; reboot",
			"%s switches the IOMMU off", word);
	else
		doctor_add(report, DOCTOR_OK, "command-line", NULL,
			"it does not switch the IOMMU off");
	(void)doctor_word(command_line, "intel_iommu", value, sizeof(value));
	if (iommu == DOCTOR_IOMMU_VTD)
		kernel_scalable(report, value, config);
	kernel_passthrough(report, command_line);
}

/* ------------------------------------------------------------ modules */

/* Is there a file of this module in the list? Its name there may have '-' for '_'. */
static bool kernel_lists(const char *list, const char *name)
{
	char file[2][64];

	(void)snprintf(file[0], sizeof(file[0]), "/%s.ko", name);
	(void)snprintf(file[1], sizeof(file[1]), "%s", file[0]);
	for (char *p = file[1]; *p != '\0'; p++)
		*p = (char)(*p == '_' ? '-' : *p);
	return list && (strstr(list, file[0]) || strstr(list, file[1]));
}

void doctor_check_module(struct doctor_report *report, const struct doctor_module *module)
{
	char name[DOCTOR_NAME_MAX], remedy[DOCTOR_TEXT_MAX];

	(void)snprintf(name, sizeof(name), "module %s", module->name);
	(void)snprintf(remedy, sizeof(remedy),
		"modprobe %s; at each start: a line in /etc/modules-load.d/pasidd.conf",
		module->name);
	if (module->there)
		doctor_add(report, DOCTOR_OK, name, NULL, "loaded or built in");
	else if (kernel_lists(module->builtin, module->name))
		doctor_add(report, DOCTOR_OK, name, NULL, "built in");
	else if (kernel_lists(module->loadable, module->name))
		doctor_add(report, DOCTOR_PROBLEM, name, remedy, "there, and not loaded");
	else if (module->loadable)
		doctor_add(report, DOCTOR_PROBLEM, name,
			"boot a kernel that has it (Linux 6.15 or later)",
			"the kernel does not have it");
	else
		doctor_add(report, DOCTOR_PROBLEM, name, remedy,
			"not loaded, and the kernel's list of modules cannot be read");
}

/* ------------------------------------------------------------ system calls */

static void kernel_probe(struct doctor_report *report, const char *name, enum doctor_probe probe,
	enum doctor_level missing, const char *remedy)
{
	if (probe == DOCTOR_PROBE_THERE)
		doctor_add(report, DOCTOR_OK, name, NULL, "there");
	else if (probe == DOCTOR_PROBE_MISSING)
		doctor_add(report, missing, name, remedy, "the kernel does not have it");
	else if (probe == DOCTOR_PROBE_FORBIDDEN)
		doctor_add(report, DOCTOR_UNKNOWN, name, NULL,
			"not allowed where pasidctl runs; the daemon may be");
}

void doctor_check_probes(struct doctor_report *report, enum doctor_probe pidfd,
	enum doctor_probe pidfs, enum doctor_probe kcmp)
{
	kernel_probe(report, "pidfd", pidfd, DOCTOR_WARNING,
		"boot a newer kernel; deaths of VMMs are noticed by their sockets meanwhile");
	kernel_probe(report, "pidfd-inode", pidfs, DOCTOR_OK, NULL);
	kernel_probe(report, "kcmp", kcmp, DOCTOR_PROBLEM,
		"boot a kernel with CONFIG_KCMP: pasidd compares with it whose iommufd a descriptor is");
}
