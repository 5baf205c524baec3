/* SPDX-License-Identifier: MIT */
/* What `pasidctl doctor` makes of texts, of what nobody would write and of what is not there. */
#include "doctor.h"

#include "hw/vtd_table.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct doctor_report report;

static void setup(void)
{
	memset(&report, 0, sizeof(report));
}

/* The finding of this name, which must be there once. */
static const struct doctor_finding *only(const char *name)
{
	const struct doctor_finding *found = NULL;

	for (size_t i = 0; i < report.count; i++) {
		if (strcmp(report.findings[i].name, name) != 0)
			continue;
		ck_assert_msg(found == NULL, "%s is there twice", name);
		found = &report.findings[i];
	}
	ck_assert_msg(found != NULL, "%s is not there", name);
	return found;
}

static void expect(const char *name, enum doctor_level level, const char *found, const char *remedy)
{
	const struct doctor_finding *finding = only(name);

	ck_assert_str_eq(doctor_level_text(finding->level), doctor_level_text(level));
	ck_assert_msg(strstr(finding->found, found) != NULL, "%s: %s", name, finding->found);
	ck_assert_msg(strstr(finding->remedy, remedy) != NULL, "%s: %s", name, finding->remedy);
	/* What is to be done is said wherever something is to be done. */
	ck_assert(level < DOCTOR_WARNING || finding->remedy[0] != '\0');
	memset(&report, 0, sizeof(report));
}

START_TEST(too_many_findings_are_counted)
	{
		for (size_t i = 0; i < DOCTOR_FINDINGS_MAX + 3; i++)
			doctor_add(&report, DOCTOR_OK, "x", NULL, "y");
		ck_assert_uint_eq(report.count, DOCTOR_FINDINGS_MAX);
		ck_assert_uint_eq(report.dropped, 3);
		ck_assert_uint_eq(doctor_count(&report, DOCTOR_OK), DOCTOR_FINDINGS_MAX);
		ck_assert_uint_eq(doctor_count(&report, DOCTOR_PROBLEM), 0);
	}
END_TEST

START_TEST(long_texts_are_cut)
	{
		char text[1000];

		memset(text, 'x', sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		doctor_add(&report, DOCTOR_OK, text, text, "%s", text);
		ck_assert_uint_eq(strlen(report.findings[0].name), DOCTOR_NAME_MAX - 1);
		ck_assert_uint_eq(strlen(report.findings[0].found), DOCTOR_TEXT_MAX - 1);
		ck_assert_uint_eq(strlen(report.findings[0].remedy), DOCTOR_TEXT_MAX - 1);
	}
END_TEST

/* ------------------------------------------------------------ the kernel */

START_TEST(versions)
	{
		unsigned major, minor;

		ck_assert(doctor_version("6.15.2-amd64\n", &major, &minor));
		ck_assert(major == 6 && minor == 15);
		ck_assert(doctor_version("7.3-rc1", &major, &minor));
		ck_assert(major == 7 && minor == 3);
		ck_assert(!doctor_version("", &major, &minor));
		ck_assert(!doctor_version("linux", &major, &minor));
		ck_assert(!doctor_version("6", &major, &minor));
		ck_assert(!doctor_version(NULL, &major, &minor));
	}
END_TEST

START_TEST(an_old_kernel_lacks_what_came_later)
	{
		doctor_check_kernel(&report, "6.1.0-37-amd64");
		expect("kernel", DOCTOR_PROBLEM, "device nodes of VFIO (6.6)", "6.15");
		doctor_check_kernel(&report, "6.14.9");
		ck_assert_ptr_null(strstr(report.findings[0].found, "charged anew"));
		expect("kernel", DOCTOR_PROBLEM, "attached by user space (6.15)", "simulate");
		doctor_check_kernel(&report, "6.15.0");
		expect("kernel", DOCTOR_OK, "Linux 6.15", "");
		doctor_check_kernel(&report, "7.0.0");
		expect("kernel", DOCTOR_OK, "Linux 7.0", "");
		doctor_check_kernel(&report, NULL);
		expect("kernel", DOCTOR_UNKNOWN, "cannot be read", "");
	}
END_TEST

START_TEST(configurations)
	{
		static const char good[] =
			"CONFIG_IOMMUFD=m\nCONFIG_VFIO_DEVICE_CDEV=y\nCONFIG_VFIO_PCI=m\n# CONFIG_X is not set\n";

		ck_assert_int_eq(doctor_config(good, "CONFIG_IOMMUFD"), 'm');
		ck_assert_int_eq(doctor_config(good, "CONFIG_X"), 'n');
		ck_assert_int_eq(doctor_config(good, "CONFIG_VFIO_PCI_CORE"), 'n');
		ck_assert_int_eq(doctor_config("XCONFIG_A=y\n", "CONFIG_A"), 'n');
		ck_assert_int_eq(doctor_config("CONFIG_AB=y\nCONFIG_A=y", "CONFIG_A"), 'y');
		ck_assert_int_eq(doctor_config(NULL, "CONFIG_A"), 0);
		doctor_check_config(&report, good);
		expect("kernel-config", DOCTOR_OK, "are built", "");
		doctor_check_config(&report, "CONFIG_IOMMUFD=m\nCONFIG_VFIO_PCI=m\n");
		expect("kernel-config", DOCTOR_PROBLEM, "without CONFIG_VFIO_DEVICE_CDEV", "boot");
		doctor_check_config(&report, "");
		expect("kernel-config", DOCTOR_PROBLEM,
			"without CONFIG_IOMMUFD CONFIG_VFIO_DEVICE_CDEV", "");
		doctor_check_config(&report, NULL);
		expect("kernel-config", DOCTOR_UNKNOWN, "neither", "");
	}
END_TEST

START_TEST(words_of_the_command_line)
	{
		char value[8];

		ck_assert(doctor_word("a=1 quiet a=2 b\n", "a", value, sizeof(value)));
		ck_assert_str_eq(value, "2");
		ck_assert(doctor_word("a=1 quiet", "quiet", value, sizeof(value)));
		ck_assert_str_eq(value, "");
		ck_assert(doctor_word("a=0123456789", "a", value, sizeof(value)));
		ck_assert_str_eq(value, "0123456");
		ck_assert(!doctor_word(
			"intel_iommu_x=on xintel_iommu=on", "intel_iommu", value, sizeof(value)));
		ck_assert(!doctor_word("", "a", value, sizeof(value)));
		ck_assert(!doctor_word(NULL, "a", value, sizeof(value)));
	}
END_TEST

START_TEST(command_lines)
	{
		static const struct {
			const char *line, *config, *name;
			enum doctor_level level;
			const char *found;
		} cases[] = {
			{"ro intel_iommu=on,sm_on", NULL, "scalable-mode", DOCTOR_OK,
				"by the command line"},
			{"intel_iommu=sm_on", NULL, "scalable-mode", DOCTOR_OK,
				"by the command line"},
			{"intel_iommu=on,sm_off", NULL, "scalable-mode", DOCTOR_PROBLEM, "sm_off"},
			{"intel_iommu=on", NULL, "scalable-mode", DOCTOR_UNKNOWN, "not known"},
			{"intel_iommu=on", "", "scalable-mode", DOCTOR_PROBLEM, "is built so"},
			{"ro", "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON=y\n", "scalable-mode",
				DOCTOR_OK, "unless"},
			{"intel_iommu=off", NULL, "command-line", DOCTOR_PROBLEM,
				"intel_iommu=off"},
			{"iommu=off", NULL, "command-line", DOCTOR_PROBLEM, "iommu=off"},
			{"iommu=offset", NULL, "command-line", DOCTOR_OK, "does not"},
			{"ro iommu=pt", NULL, "passthrough", DOCTOR_OK, "bypass"},
			{"iommu.passthrough=1", NULL, "passthrough", DOCTOR_OK, "bypass"},
			{NULL, NULL, "command-line", DOCTOR_UNKNOWN, "cannot be read"},
		};

		for (size_t i = 0; i < COUNT(cases); i++) {
			doctor_check_command_line(
				&report, cases[i].line, cases[i].config, DOCTOR_IOMMU_VTD);
			expect(cases[i].name, cases[i].level, cases[i].found, "");
		}
		doctor_check_command_line(
			&report, "iommu.passthrough=0", NULL, DOCTOR_IOMMU_SMMUV3);
		ck_assert_uint_eq(report.count, 1);
	}
END_TEST

START_TEST(modules)
	{
		struct doctor_module module = {.name = "vfio_pci", .there = true};

		doctor_check_module(&report, &module);
		expect("module vfio_pci", DOCTOR_OK, "loaded", "");
		module.there = false;
		doctor_check_module(&report, &module);
		expect("module vfio_pci", DOCTOR_PROBLEM, "cannot be read", "modprobe vfio_pci");
		module.loadable = "kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/x.ko\n";
		doctor_check_module(&report, &module);
		expect("module vfio_pci", DOCTOR_PROBLEM, "not loaded", "modprobe vfio_pci");
		module.builtin = "kernel/drivers/vfio/pci/vfio-pci.ko\n";
		doctor_check_module(&report, &module);
		expect("module vfio_pci", DOCTOR_OK, "built in", "");
		module = (struct doctor_module){.name = "iommufd",
			.loadable = "kernel/drivers/myiommufd.ko:\n",
			.builtin = ""};
		doctor_check_module(&report, &module);
		expect("module iommufd", DOCTOR_PROBLEM, "does not have it", "6.15");
	}
END_TEST

START_TEST(system_calls)
	{
		doctor_check_probes(
			&report, DOCTOR_PROBE_NONE, DOCTOR_PROBE_NONE, DOCTOR_PROBE_NONE);
		ck_assert_uint_eq(report.count, 0);
		doctor_check_probes(
			&report, DOCTOR_PROBE_THERE, DOCTOR_PROBE_NONE, DOCTOR_PROBE_MISSING);
		expect("kcmp", DOCTOR_PROBLEM, "does not have it", "CONFIG_KCMP");
		doctor_check_probes(
			&report, DOCTOR_PROBE_MISSING, DOCTOR_PROBE_NONE, DOCTOR_PROBE_FORBIDDEN);
		ck_assert_int_eq(only("kcmp")->level, DOCTOR_UNKNOWN);
		expect("pidfd", DOCTOR_WARNING, "does not have it", "newer");
	}
END_TEST

/* ------------------------------------------------------------ IOMMUs */

START_TEST(registers)
	{
		uint64_t value;

		ck_assert(doctor_register("d2008c40660462\n", &value));
		ck_assert_uint_eq(value, 0xd2008c40660462);
		ck_assert(doctor_register("0xffffffffffffffff", &value));
		ck_assert_uint_eq(value, UINT64_MAX);
		ck_assert(!doctor_register("1ffffffffffffffff", &value));
		ck_assert(!doctor_register("", &value));
		ck_assert(!doctor_register("-1", &value));
		ck_assert(!doctor_register("12 34", &value));
		ck_assert(!doctor_register(NULL, &value));
		ck_assert(!doctor_register("x", &value));
	}
END_TEST

/* What sysfs would show of these capabilities. */
static bool unit(const struct vtd_caps *caps)
{
	uint64_t cap, ecap;
	char texts[2][32];

	vtd_caps_encode(caps, &cap, &ecap);
	(void)snprintf(texts[0], sizeof(texts[0]), "%llx\n", (unsigned long long)cap);
	(void)snprintf(texts[1], sizeof(texts[1]), "%llx\n", (unsigned long long)ecap);
	return doctor_check_vtd(&report, "dmar0", texts[0], texts[1]);
}

START_TEST(units_of_vtd)
	{
		struct vtd_caps caps = {
			.mgaw = 48, .scalable = true, .pasid = true, .pasid_width = 20};

		ck_assert(unit(&caps));
		expect("unit dmar0", DOCTOR_OK, "PASIDs of 20 bits, no tables of guests", "");
		caps.nest = caps.first_stage = caps.second_stage = true;
		ck_assert(unit(&caps));
		expect("unit dmar0", DOCTOR_OK, "tables of guests with 48 bits", "");
		caps.fl5lp = true;
		ck_assert(unit(&caps));
		expect("unit dmar0", DOCTOR_OK, "48 or 57 bits", "");
		caps.pasid = false;
		ck_assert(!unit(&caps));
		expect("unit dmar0", DOCTOR_WARNING, "ECAP.PASID", "other units");
		caps.scalable = false;
		ck_assert(!unit(&caps));
		expect("unit dmar0", DOCTOR_WARNING, "ECAP.SMTS", "other units");
		ck_assert(doctor_check_vtd(&report, "dmar0", NULL, "1"));
		expect("unit dmar0", DOCTOR_UNKNOWN, "cannot be read", "");
	}
END_TEST

START_TEST(a_host_and_its_iommus)
	{
		ck_assert_int_eq(doctor_iommu_kind("dmar12"), DOCTOR_IOMMU_VTD);
		ck_assert_int_eq(
			doctor_iommu_kind("smmu3.0x0000000009050000"), DOCTOR_IOMMU_SMMUV3);
		ck_assert_int_eq(doctor_iommu_kind("ivhd0"), DOCTOR_IOMMU_OTHER);
		doctor_check_iommu(&report, DOCTOR_IOMMU_NONE, 0, 0);
		expect("iommu", DOCTOR_PROBLEM, "no IOMMU", "pasidctl demo");
		doctor_check_iommu(&report, DOCTOR_IOMMU_OTHER, 2, 0);
		expect("iommu", DOCTOR_PROBLEM, "attaches no PASIDs", "pasidctl demo");
		doctor_check_iommu(&report, DOCTOR_IOMMU_VTD, 2, 0);
		expect("iommu", DOCTOR_PROBLEM, "no unit of 2", "pasidctl demo");
		doctor_check_iommu(&report, DOCTOR_IOMMU_VTD, 2, 1);
		expect("iommu", DOCTOR_OK, "1 of 2", "");
		doctor_check_smmuv3(&report, "smmu3.0");
		expect("unit smmu3.0", DOCTOR_UNKNOWN, "substreams", "pasidctl devices");
	}
END_TEST

/* ------------------------------------------------------------ nodes */

static const char passwd[] =
	"root:x:0:0:root:/root:/bin/sh\npasidd:x:998:997:Owner:/:/nologin\nbad:x:1\nneg:x:-1:2:::\n";
static const char groups[] =
	"kvm:x:104:alice,pasidd\nvfio:x:105:pasiddx,xpasidd\nshort\nend:x:106:pasidd";

START_TEST(users_and_their_groups)
	{
		struct doctor_user user;

		ck_assert(doctor_user("pasidd", passwd, groups, &user));
		ck_assert_uint_eq(user.uid, 998);
		ck_assert_uint_eq(user.gid_count, 3);
		ck_assert(user.gids[0] == 997 && user.gids[1] == 104 && user.gids[2] == 106);
		ck_assert(doctor_user("root", passwd, NULL, &user));
		ck_assert_uint_eq(user.gid_count, 1);
		ck_assert(!doctor_user("nobody", passwd, groups, &user));
		ck_assert(!doctor_user("bad", passwd, groups, &user));
		ck_assert(!doctor_user("neg", passwd, groups, &user));
		ck_assert(!doctor_user("pasidd", NULL, groups, &user));
	}
END_TEST

START_TEST(who_may_open_a_node)
	{
		static const struct {
			uint32_t mode, uid, gid;
			bool may;
		} cases[] = {
			{0600, 0, 0, false},
			{0660, 0, 104, true},
			{0640, 0, 104, false},
			{0660, 0, 103, false},
			{0666, 0, 103, true},
			{0606, 0, 104, false}, /* a group's own bits count, less as they may be */
			{0600, 998, 0, true},
			{0066, 998, 104, false},
		};
		struct doctor_user user, root = {.name = "root"};

		ck_assert(doctor_user("pasidd", passwd, groups, &user));
		for (size_t i = 0; i < COUNT(cases); i++) {
			const struct doctor_node node = {"/dev/iommu", true, cases[i].mode,
				cases[i].uid, cases[i].gid, false, false};

			ck_assert_int_eq(doctor_may_open(&node, &user), cases[i].may);
			ck_assert(doctor_may_open(&node, &root));
			doctor_check_node(&report, &node, &user);
			expect("/dev/iommu", cases[i].may ? DOCTOR_OK : DOCTOR_PROBLEM, "pasidd",
				"");
		}
	}
END_TEST

START_TEST(nodes)
	{
		const struct doctor_user root = {.name = "root"};
		struct doctor_node node = {.path = "/dev/iommu"};

		doctor_check_node(&report, &node, &root);
		expect("/dev/iommu", DOCTOR_PROBLEM, "missing", "module");
		node.there = node.asked = true;
		doctor_check_node(&report, &node, &root);
		expect("/dev/iommu", DOCTOR_WARNING, "you cannot", "udev");
		node.allowed = true;
		doctor_check_node(&report, &node, &root);
		expect("/dev/iommu", DOCTOR_OK, "so can you", "");
		doctor_check_container(&report, false, NULL);
		ck_assert_uint_eq(report.count, 0);
		doctor_check_container(&report, true, "CONFIG_IOMMUFD_VFIO_CONTAINER=y\n");
		expect("/dev/vfio/vfio", DOCTOR_WARNING, "stand-in", "/dev/vfio/devices");
		doctor_check_container(&report, true, NULL);
		expect("/dev/vfio/vfio", DOCTOR_OK, "old container", "");
	}
END_TEST

/* ------------------------------------------------------------ the rest */

START_TEST(locked_memory)
	{
		doctor_check_memlock(&report,
			"Limit  Soft\nMax locked memory         unlimited     unlimited bytes\n");
		expect("memlock", DOCTOR_OK, "without limit", "");
		doctor_check_memlock(&report,
			"Max locked memory         8388608              8388608              bytes");
		expect("memlock", DOCTOR_WARNING, "8 MiB", "LimitMEMLOCK");
		doctor_check_memlock(&report, "Max locked memory         68719476736 x bytes");
		expect("memlock", DOCTOR_OK, "65536 MiB", "");
		doctor_check_memlock(&report, "Max locked memory");
		expect("memlock", DOCTOR_UNKNOWN, "cannot", "");
		doctor_check_memlock(&report, NULL);
		expect("memlock", DOCTOR_UNKNOWN, "cannot", "");
	}
END_TEST

START_TEST(systemds)
	{
		doctor_check_systemd(&report, 252, true);
		expect("systemd", DOCTOR_OK, "not over a stop", "restart");
		doctor_check_systemd(&report, 257, true);
		expect("systemd", DOCTOR_OK, "257", "");
		doctor_check_systemd(&report, 247, true);
		expect("systemd", DOCTOR_WARNING, "older", "252");
		doctor_check_systemd(&report, 0, true);
		expect("systemd", DOCTOR_UNKNOWN, "version", "");
		doctor_check_systemd(&report, 252, false);
		expect("systemd", DOCTOR_WARNING, "does not run", "service");
	}
END_TEST

START_TEST(what_confines)
	{
		doctor_check_seccomp(&report, "kill_process log");
		expect("seccomp", DOCTOR_OK, "can be filtered", "");
		doctor_check_seccomp(&report, NULL);
		expect("seccomp", DOCTOR_WARNING, "does not say", "CONFIG_SECCOMP_FILTER");
		doctor_check_security(&report, "capability,landlock,apparmor\n", -1);
		ck_assert_str_eq(
			only("lsm")->found, "security modules: capability,landlock,apparmor");
		expect("landlock", DOCTOR_OK, "there", "");
		doctor_check_security(&report, "capability,notlandlock\n", -1);
		expect("landlock", DOCTOR_WARNING, "does not offer", "lsm=");
		doctor_check_security(&report, NULL, -1);
		expect("landlock", DOCTOR_UNKNOWN, "cannot be seen", "");
		doctor_check_security(&report, NULL, 0);
		expect("landlock", DOCTOR_WARNING, "does not offer", "lsm=");
		doctor_check_security(&report, "capability", 4);
		expect("landlock", DOCTOR_OK, "there", "");
	}
END_TEST

START_TEST(daemons)
	{
		static const char *const notes[] = {
			"The IOMMU is simulated, in /x: no device is touched.", "Other."};
		struct doctor_daemon daemon = {.error = "cannot connect"};

		doctor_check_daemon(&report, &daemon);
		expect("daemon", DOCTOR_WARNING, "cannot connect", "systemctl start");
		daemon.error = NULL;
		doctor_check_daemon(&report, &daemon);
		expect("daemon", DOCTOR_WARNING, "cannot be reached", "");
		daemon = (struct doctor_daemon){
			.reachable = true, .version = "0.1.0", .backend = "vtd"};
		doctor_check_daemon(&report, &daemon);
		expect("daemon", DOCTOR_OK, "backend vtd", "");
		daemon.counted = true;
		doctor_check_daemon(&report, &daemon);
		expect("daemon-recount", DOCTOR_PROBLEM, "disagrees", "fsck");
		daemon = (struct doctor_daemon){.reachable = true,
			.version = "1",
			.backend = "simulated",
			.notes = notes,
			.note_count = 1,
			.counted = true,
			.consistent = true};
		doctor_check_daemon(&report, &daemon);
		ck_assert_ptr_nonnull(strstr(only("daemon")->found, "simulated IOMMU"));
		expect("daemon-note", DOCTOR_WARNING, "is simulated", "without --simulate");
		daemon.note_count = 2;
		doctor_check_daemon(&report, &daemon);
		ck_assert_uint_eq(report.count, 3);
		ck_assert_str_eq(report.findings[2].found, "Other.");
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {too_many_findings_are_counted, long_texts_are_cut, versions,
		an_old_kernel_lacks_what_came_later, configurations, words_of_the_command_line,
		command_lines, modules, system_calls, registers, units_of_vtd,
		a_host_and_its_iommus, users_and_their_groups, who_may_open_a_node, nodes,
		locked_memory, systemds, what_confines, daemons};

	return suite_run("doctor", "doctor", tests, COUNT(tests), setup, NULL);
}
