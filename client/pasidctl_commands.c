/* SPDX-License-Identifier: MIT */
/* The commands of pasidctl: their lines, their help, and who may give them. */
#include "pasidctl.h"

/* Who may be asked for: everything is shown to observers, a VMM sees only its own. */
#define READERS                                                                                    \
	{                                                                                          \
		PASID_ROLE_OBSERVER, PASID_ROLE_VMM                                                \
	}
#define ADMINS                                                                                     \
	{                                                                                          \
		PASID_ROLE_ADMIN                                                                   \
	}

static const struct ctl_command commands[] = {
	{.name = "status",
		.arguments = "[--limits [--all] [--set NAME]]",
		.summary = "the daemon, its numbers and counters; what is limited",
		.help = "For admins the daemon also recounts everything and says whether that agrees "
			"with the counters.\n\n--limits shows what is limited instead: of the host, then "
			"of users, of sets, of reservations. HITS says\nhow often the limit refused "
			"something, KEY what changes it: in the daemon's configuration,\nor the command "
			"for a set's quota. What is not in use and was never hit is left\n"
			"out without --all; --set shows one set.\n\n"
			"Examples:\n  pasidctl status\n  pasidctl --json status | jq .pasids.current\n"
			"  pasidctl status --limits\n  pasidctl status --limits --all --set vm1\n",
		.options = CTL_LIMITS | CTL_ALL | CTL_SET,
		.followers = CTL_ALL | CTL_SET,
		.leader = CTL_LIMITS,
		.roles = {PASID_ROLE_ADMIN, PASID_ROLE_OBSERVER, PASID_ROLE_VMM},
		.run = ctl_status,
		.show = ctl_show_status},
	{.name = "sets",
		.arguments = "",
		.summary = "the sets: one a virtual machine",
		.help = "USED counts quarantined numbers too; REFUSED says how often the quota refused "
			"some.\n\nExamples:\n  pasidctl sets\n",
		.roles = READERS,
		.run = ctl_sets,
		.columns = ctl_set_columns},
	{.name = "pasids",
		.arguments = "[--set NAME] [--quarantined] [--data N] [--device DEVICE]",
		.summary = "the numbers that are out, and whose they are",
		.help = "--quarantined shows those too that were freed and rest. QUARANTINE says why:\n"
			"  cooling         ends by itself after a time\n"
			"  undrained       ends with `pasidctl drained DEVICE`\n"
			"  tainted         may still be attached; ends with a proven detach or a "
			"reboot\n"
			"  unacknowledged  a participant has not let go yet\n"
			"  held            somebody refers to it; see `pasidctl holds`\n\n"
			"--data shows those with this private data, --device those that are bound on "
			"this function, or\nregistration by its id.\n\n"
			"Examples:\n  pasidctl pasids --set vm1\n  pasidctl pasids --quarantined\n"
			"  pasidctl pasids --device 0000:3b:00.0\n",
		.options = CTL_SET | CTL_QUARANTINED | CTL_DATA | CTL_DEVICE,
		.roles = READERS,
		.run = ctl_pasids,
		.columns = ctl_grant_columns},
	{.name = "devices",
		.arguments = "[--set NAME]",
		.summary = "the devices, and whose they are",
		.help = "WIDTH is in bits; a device with width 0 takes no PASIDs.\n\nExamples:\n  "
			"pasidctl devices\n",
		.options = CTL_SET,
		.roles = READERS,
		.run = ctl_devices,
		.columns = ctl_device_columns},
	{.name = "bindings",
		.arguments = "[--set NAME] [--pasid PASID] [--device DEVICE]",
		.summary = "which number is bound on which device",
		.help = "A binding without PASID is the device's own, for DMA without one.\n\n"
			"Examples:\n  pasidctl bindings\n  pasidctl bindings --pasid 1024\n"
			"  pasidctl bindings --device 0000:3b:00.0\n",
		.options = CTL_SET | CTL_PASID | CTL_DEVICE,
		.roles = READERS,
		.run = ctl_bindings,
		.columns = ctl_binding_columns},
	{.name = "who",
		.arguments = "PASID [--set NAME]",
		.summary = "whose number is this, and where is it bound?",
		.help = "A number of scope rids may be several sets'; then one is to be named. Of one "
			"that nobody\nhas it is said when the configuration keeps it back: for the "
			"kernel, or by the width.\n\n"
			"Examples:\n  pasidctl who 1024\n  pasidctl who 0x400 --set vm1\n",
		.options = CTL_SET,
		.min_args = 1,
		.max_args = 1,
		.roles = READERS,
		.run = ctl_who,
		.show = ctl_show_who},
	{.name = "holds",
		.arguments = "[--set NAME]",
		.summary = "which sessions hold which numbers",
		.help = "A number that is held is not reclaimed. TIMES says how often a session holds "
			"it; its holds\nend with it.\n\nExamples:\n  pasidctl holds\n  pasidctl --json "
			"holds --set vm1\n",
		.options = CTL_SET,
		.roles = READERS,
		.run = ctl_holds,
		.columns = ctl_hold_columns},
	{.name = "hold",
		.arguments = "--set NAME PASID... -- COMMAND [ARGUMENT...]",
		.summary = "keep numbers from being reclaimed while a command runs",
		.help = "Holds the numbers, all or none, until COMMAND has ended, and ends as it does. "
			"What its set\nfrees meanwhile is reclaimed then.\n\n"
			"Examples:\n  pasidctl hold --set vm1 1024 -- sleep 60\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 1,
		.max_args = CTL_WORDS_MAX - 1,
		.runs_other = true,
		.roles = {PASID_ROLE_ADMIN, PASID_ROLE_PARTICIPANT},
		.run = ctl_hold},
	{.name = "watch",
		.arguments = "[--events N] [--from SEQUENCE | --state FILE] [--set NAME]",
		.summary = "what changes, as it happens, a line each",
		.help = "Ends after N events, when its reader goes, or by a signal, and says from where to go on. With\n"
			"--json a line is an object. --from begins with an event of before, as far as "
			"the daemon has it;\nwhat it does not have any more is a line with `lost`. --set "
			"shows one set, which may be still to\ncome. When the daemon is restarted, it goes "
			"on with the next event.\n\n--state keeps in FILE where to go on, also when "
			"pasidctl is started again, and waits for the\ndaemon as long as it takes. After "
			"a kill a few events may come twice; none is missing without\na line that says "
			"so: `lost`, or `gap` when nobody knows how many (the host was booted).\n\n"
			"Examples:\n  pasidctl watch\n  pasidctl --json watch --events 10\n"
			"  pasidctl watch --from 1 --set vm1\n  pasidctl --json watch --state /var/lib/pasid-events/state\n",
		.options = CTL_EVENTS | CTL_FROM | CTL_STATE | CTL_SET,
		.roles = {PASID_ROLE_OBSERVER, PASID_ROLE_PARTICIPANT, PASID_ROLE_VMM},
		.run = ctl_watch},
	{.name = "participate",
		.arguments = "[--events N] [--from SEQUENCE]",
		.summary = "be waited for: watch, and acknowledge what comes on standard input",
		.help = "From now on a number that is freed, and for a time an unbind, waits for this "
			"session. Events are\nshown as by watch, before others are told. Each line of "
			"standard input acknowledges: `PASID`\nwhatever waits for it now, `PASID "
			"SEQUENCE` what was announced by events up to that one. Ends\nwith standard "
			"input, and with it the wait.\n\n"
			"Examples:\n  pasidctl participate\n  pasidctl --json participate <>/run/acknowledged.fifo\n",
		.options = CTL_EVENTS | CTL_FROM,
		.roles = {PASID_ROLE_PARTICIPANT},
		.run = ctl_participate},
	{.name = "fsck",
		.arguments = "FILE",
		.summary = "check the records that a daemon left in a file, offline",
		.help = "Says of which boot the file is, what is in it, how many stores of an "
			"unfinished change the\nnext daemon would take back, and `ok`, or what is "
			"wrong and what to do. The file is only\nread, and no daemon is asked. While "
			"one has the file, what is shown may be in motion.\n\nExamples:\n  pasidctl "
			"fsck /run/pasidd/state\n  pasidctl --json fsck /run/pasidd/state | jq "
			".tables.grants.live\n",
		.min_args = 1,
		.max_args = 1,
		.offline = true,
		.run = ctl_fsck,
		.show = ctl_show_fsck},

	{.name = "translate",
		.arguments = "SET [GUEST...]",
		.summary = "what a guest's numbers stand for",
		.help = "Reads the memory in which a VMM looks its translations up, and which this makes "
			"for the\nset if its VMM did not. Without GUEST all that there are.\n\n"
			"Examples:\n  pasidctl translate vm1\n  pasidctl --json translate vm1 5 6\n",
		.min_args = 1,
		.max_args = CTL_WORDS_MAX - 1,
		.roles = ADMINS,
		.run = ctl_translate,
		.columns = ctl_translate_columns},
	{.name = "set create",
		.arguments = "NAME [--mode MODE] [--quota N] [--owner USER] [--scope SCOPE]",
		.summary = "make a set that stays until it is destroyed",
		.help = "MODE is translated (the guest picks its numbers; the default), identity (it is "
			"given the host's) or guest-owned. A quota of 0 is what remains of the host. "
			"--owner\nsays which user is charged for it, by name or number; else you "
			"are. Its numbers may be of any scope; with --scope of that one only: see "
			"alloc.\n\nExamples:\n  pasidctl set create vm1 --quota 64\n  pasidctl set "
			"create vm2 --mode identity --owner libvirt-qemu\n",
		.options = CTL_MODE | CTL_QUOTA | CTL_OWNER | CTL_SCOPE,
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_set_create},
	{.name = "set adjust",
		.arguments = "NAME QUOTA",
		.summary = "give a set more or fewer numbers",
		.help = "Fewer than it uses is refused.\n\nExamples:\n  pasidctl set adjust vm1 128\n",
		.min_args = 2,
		.max_args = 2,
		.roles = ADMINS,
		.run = ctl_set_adjust},
	{.name = "connect",
		.arguments = "SET [--fd N] -- COMMAND [ARGUMENT...]",
		.summary = "run a VMM with a connection that serves this set and nothing else",
		.help = "COMMAND replaces pasidctl, as who runs it. It gets the connection as "
			"descriptor N (3), and\nPASIDD_FD=N in its environment. It needs no other "
			"authority, and no access to the socket.\nWhen it ends, everything in the set "
			"is detached and freed, and the set stays.\n\nExamples:\n  pasidctl set create "
			"vm1 --owner vm\n  pasidctl connect vm1 -- setpriv --reuid vm --regid vm "
			"--init-groups vmm --fd 3\n",
		.options = CTL_FD,
		.min_args = 1,
		.max_args = 1,
		.runs_other = true,
		.roles = ADMINS,
		.run = ctl_set_connect},
	{.name = "set destroy",
		.arguments = "NAME [--force]",
		.summary = "take a set away",
		.help = "Without --force only one without numbers and devices; with it they are unbound "
			"and freed.\n\nExamples:\n  pasidctl set destroy vm1\n  pasidctl set destroy "
			"vm1 --force\n",
		.options = CTL_FORCE,
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_set_destroy},
	{.name = "move",
		.arguments = "SET [--to SOCKET] [--owner USER] [--max N] [--cancel] [--force]",
		.summary = "move a set to the daemon of another host",
		.help = "SOCKET is where the other daemon can be reached, such as one that ssh "
			"forwards. The set keeps\nits name, quota, guest PASIDs and data, and gets "
			"other host PASIDs, or in an identity set\nthe same. Its VMM has to unbind "
			"everything first, for which this waits as long as --timeout\nsays. What was "
			"interrupted, wherever and whoever died, goes on when the same is said "
			"again.\n\n"
			"--owner says who is charged there (the user of the same number), --max the "
			"highest host PASID\nthat the devices there take. --cancel ends a move that "
			"was not given yet; without --to at the\nsource only. --force without --to "
			"ends what is left of a move here on your word that the\nother host has the "
			"set, or never will: if you are wrong, two hosts have it, or none.\n\n"
			"Examples:\n  pasidctl move vm1 --to /run/other-host.socket\n"
			"  pasidctl move vm1 --to /run/other-host.socket --cancel\n"
			"  pasidctl move vm1 --force\n",
		.options = CTL_TO | CTL_OWNER | CTL_MAX | CTL_CANCEL | CTL_FORCE,
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_move,
		.show = ctl_show_move},
	{.name = "moves",
		.arguments = "",
		.summary = "the sets that are under way between this host and another",
		.help = "STATE is leaving or given at the host that a set comes from, coming or "
			"reserved where it goes\nto. A move goes on with `pasidctl move`, said where "
			"it began.\n\nExamples:\n  pasidctl moves\n  pasidctl --json moves | jq "
			"'.[].state'\n",
		.roles = ADMINS,
		.run = ctl_moves,
		.columns = ctl_move_columns},
	{.name = "alloc",
		.arguments =
			"--set NAME [--count N] [--min N] [--max N] [--consecutive] [--guest N] "
			"[--data N] [--scope SCOPE] [DEVICE...]",
		.summary = "grant numbers to a set",
		.help = "All of them or none. --consecutive wants a power of two as count. SCOPE is "
			"global (a number\nis the set's on the whole host; the default) or rids (in the "
			"tables of these devices only;\nthe same number may be another set's on others). "
			"The numbers fit the devices.\n\n"
			"Examples:\n  pasidctl alloc --set vm1\n  pasidctl alloc --set vm1 --count 16 "
			"--consecutive\n  pasidctl alloc --set vm1 --guest 5 --data 0x1234\n  pasidctl "
			"alloc --set vm1 --scope rids 0000:3b:00.0 0000:3b:00.1\n",
		.options = CTL_SET | CTL_COUNT | CTL_MIN | CTL_MAX | CTL_CONSECUTIVE | CTL_GUEST |
			   CTL_DATA | CTL_SCOPE,
		.required = CTL_SET,
		.max_args = PASID_PAIRS_MAX,
		.roles = ADMINS,
		.run = ctl_alloc,
		.show = ctl_show_alloc},
	{.name = "extend",
		.arguments = "--set NAME PASID DEVICE...",
		.summary = "let a number of scope rids be for further devices",
		.help = "For all of them or none: refused where the number is taken. PASID may be "
			"guest:N.\n\nExamples:\n  pasidctl extend --set vm1 7 0000:3b:00.1\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 2,
		.max_args = PASID_PAIRS_MAX + 1,
		.roles = ADMINS,
		.run = ctl_extend},
	{.name = "free",
		.arguments = "--set NAME (PASID... | --all)",
		.summary = "take numbers back",
		.help = "A PASID is a host number, or guest:N. Freeing twice is no error; one that is "
			"bound is freed with its last binding.\n\nExamples:\n  pasidctl free --set vm1 "
			"1024 guest:5\n  pasidctl free --set vm1 --all\n",
		.options = CTL_SET | CTL_ALL,
		.required = CTL_SET,
		.max_args = CTL_WORDS_MAX - 1,
		.roles = ADMINS,
		.run = ctl_free},
	{.name = "guest attach",
		.arguments = "--set NAME PASID GUEST",
		.summary = "let a guest's number mean a host's",
		.help = "Examples:\n  pasidctl guest attach --set vm1 1024 5\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 2,
		.max_args = 2,
		.roles = ADMINS,
		.run = ctl_guest_attach},
	{.name = "guest detach",
		.arguments = "--set NAME GUEST",
		.summary = "the opposite",
		.help = "Examples:\n  pasidctl guest detach --set vm1 5\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_guest_detach},
	{.name = "guest find",
		.arguments = "--set NAME GUEST",
		.summary = "the host's number for a guest's",
		.help = "Examples:\n  pasidctl guest find --set vm1 5\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 1,
		.max_args = 1,
		.roles = {PASID_ROLE_ADMIN, PASID_ROLE_OBSERVER},
		.run = ctl_guest_find},
	{.name = "share",
		.arguments = "ADDRESS",
		.summary = "let the daemon open a device and keep it, for slices",
		.help = "Examples:\n  pasidctl share 0000:3b:00.0\n",
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_share},
	{.name = "slice",
		.arguments = "--set NAME ADDRESS",
		.summary = "give a set its part of a shared device",
		.help = "Examples:\n  pasidctl slice --set vm1 0000:3b:00.0\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_slice},
	{.name = "remove",
		.arguments = "[--set NAME] DEVICE [--force]",
		.summary = "take a device, or a slice of one, back",
		.help = "DEVICE is an id or an address. Refused while something is bound on it; with "
			"--force that is\ndetached first, which is for an exclusive device that is to "
			"be unplugged. A slice's address is\nthat of the shared device, too: give "
			"--set or its id, and unbind its numbers first.\n\n"
			"Examples:\n  pasidctl remove --set vm1 0000:3b:00.0\n"
			"  pasidctl remove --set vm1 0000:3b:00.0 --force\n",
		.options = CTL_SET | CTL_FORCE,
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_remove},
	{.name = "drained",
		.arguments = "DEVICE",
		.summary = "vouch that a shared device has nothing queued any more",
		.help = "Numbers that waited for it leave quarantine. Say it only after a reset, or when "
			"whoever drives the device says so: a DMA that is still queued would reach "
			"another VM.\n\nExamples:\n  pasidctl drained 0000:3b:00.0\n",
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_drained},
	{.name = "release",
		.arguments = "PASID [--set NAME]",
		.summary = "vouch that nothing can use a quarantined number any more",
		.help = "It need not cool, drain or be acknowledged any more. Refused while it is held "
			"or tainted.\nSaid too early, a DMA that is still queued would reach another "
			"VM. PASID is a host number;\n--set says whose, where a number of scope rids "
			"is of several.\n\n"
			"Examples:\n  pasidctl release 1024\n  pasidctl release 7 --set vm1\n",
		.options = CTL_SET,
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_release},
	{.name = "recover",
		.arguments = "--confirm-no-devices",
		.summary = "vouch, after records were lost, that no VMM holds a device any more",
		.help = "When a daemon starts in a boot that has granted before and its records are "
			"missing, VMMs\nthat ran before may still have PASIDs attached that nobody "
			"knows of. So it grants nothing\nuntil an admin says with this that no VMM "
			"holds a device: stop all VMs, or make sure that\nevery VMM that runs was "
			"started after the daemon. Said too early, a number can be granted\nthat "
			"another VM's device still uses. When nothing is blocked, it changes nothing."
			"\n\nExamples:\n  pasidctl status\n  pasidctl recover --confirm-no-devices\n",
		.options = CTL_CONFIRM,
		.required = CTL_CONFIRM,
		.roles = ADMINS,
		.run = ctl_recover,
		.show = ctl_show_recover},
	{.name = "memory map",
		.arguments = "--set NAME DEVICE SPACE (FILE | SIZE) [--iova N] [--offset N] "
			     "[--read-only]",
		.summary = "put memory into an address space of a device",
		.help = "The memory is a memfd: SIZE bytes of zeros, or a copy of FILE.\n\nExamples:\n"
			"  pasidctl memory map --set vm1 0000:3b:00.0 0 0x200000 --iova 0x100000000\n",
		.options = CTL_SET | CTL_IOVA | CTL_OFFSET | CTL_READ_ONLY,
		.required = CTL_SET,
		.min_args = 3,
		.max_args = 3,
		.roles = ADMINS,
		.run = ctl_map},
	{.name = "memory unmap",
		.arguments = "--set NAME DEVICE SPACE IOVA LENGTH",
		.summary = "the opposite",
		.help = "Examples:\n  pasidctl memory unmap --set vm1 0000:3b:00.0 0 0x100000000 0x200000\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 4,
		.max_args = 4,
		.roles = ADMINS,
		.run = ctl_unmap},
	{.name = "bind",
		.arguments = "--set NAME PASID DEVICE=TABLE...",
		.summary = "install a page table for a number on devices, all or none",
		.help = "TABLE is space:N (filled by memory map), or on a device that a VMM registered hwpt:N "
			"or ioas:N, the VMM's own. PASID may be guest:N.\n\nExamples:\n  pasidctl bind "
			"--set vm1 1024 0000:3b:00.0=space:0\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 2,
		.max_args = PASID_PAIRS_MAX + 1,
		.roles = ADMINS,
		.run = ctl_bind},
	{.name = "unbind",
		.arguments = "--set NAME PASID [DEVICE...]",
		.summary = "take the page table of a number away, from all devices or these",
		.help = "Examples:\n  pasidctl unbind --set vm1 1024\n  pasidctl unbind --set vm1 "
			"guest:5 0000:3b:00.0\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 1,
		.max_args = PASID_PAIRS_MAX + 1,
		.roles = ADMINS,
		.run = ctl_unbind},
	{.name = "replace",
		.arguments = "--set NAME PASID|rid DEVICE=TABLE",
		.summary = "another page table in the place of a bound one",
		.help = "In one step: the number stays bound. \"rid\" is the device's own table, for DMA "
			"without a\nPASID. TABLE is as for bind.\n\nExamples:\n  pasidctl replace --set "
			"vm1 guest:5 0000:3b:00.0=space:1\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 2,
		.max_args = 2,
		.roles = ADMINS,
		.run = ctl_replace},
	{.name = "stream install",
		.arguments = "--set NAME DEVICE STREAM STE0 STE1 PARENT",
		.summary = "a guest's own PASID table, on SMMUv3",
		.help = "Installs the guest's stream table entry for a device of a set that was made with "
			"--mode\nguest-owned: its first two words, the guest's stream id, and the second "
			"stage, which is hwpt:N\nor ioas:N of the VMM's, or space:N (filled by memory map). It "
			"claims the device: nothing else is\nbound there.\n\nExamples:\n  pasidctl stream "
			"install --set vm1 0000:3b:00.0 8 0x300000004000100b 0x2a hwpt:4\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 5,
		.max_args = 5,
		.roles = ADMINS,
		.run = ctl_stream_install},
	{.name = "stream replace",
		.arguments = "--set NAME DEVICE STREAM STE0 STE1 PARENT",
		.summary = "another entry of the guest's in the place of its earlier one",
		.help = "In one step, of the same stream and parent. 0x9 bypasses the guest's stage, 0x1 aborts.\n\n"
			"Examples:\n  pasidctl stream replace --set vm1 0000:3b:00.0 8 0x9 0 hwpt:4\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 5,
		.max_args = 5,
		.roles = ADMINS,
		.run = ctl_stream_replace},
	{.name = "stream remove",
		.arguments = "--set NAME DEVICE",
		.summary = "take the guest's entry away",
		.help = "Nothing of the device's DMA passes any more.\n\nExamples:\n  pasidctl stream "
			"remove --set vm1 0000:3b:00.0\n",
		.options = CTL_SET,
		.required = CTL_SET,
		.min_args = 1,
		.max_args = 1,
		.roles = ADMINS,
		.run = ctl_stream_remove},
};
const struct ctl_group ctl_basic_commands = {commands, ARRAY_SIZE(commands)};
