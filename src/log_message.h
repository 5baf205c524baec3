/* SPDX-License-Identifier: MIT */
/*
 * The kinds of lines in the journal: each has an id (MESSAGE_ID) that never changes, and an entry
 * in systemd/pasidd.catalog that says what it means and what to do. scripts/lint/check-catalog
 * compares the two.
 */
#ifndef PASIDD_LOG_MESSAGE_H
#define PASIDD_LOG_MESSAGE_H

/* M(name, id) */
#define LOG_MESSAGES(M)                                                                            \
	M(STARTED, "229dfb6bb0014ce5a12ad92f11400ab5")                                             \
	M(STOPPING, "277c2feb406b4947a4f99ad5adcadb06")                                            \
	M(NOTE, "20817739418642d7adb3395e010d54a7")                                                \
	M(CONNECTION, "994012f0a35d40d68c3e60ed20e169f2")                                          \
	M(SESSION, "ed90e5630dd04646b8c4e7ce8517919f")                                             \
	M(SET_CREATED, "6cc5d4f1e6414652a764a3a60bd49557")                                         \
	M(SET_ADJUSTED, "b38b08f8a36a482090d06e7eae87f8dc")                                        \
	M(SET_ENDING, "a82edcc75cf34b649bb4dad6639202be")                                          \
	M(SET_EMPTIED, "3d71b33f982d46748933fe7a7e1ae34f")                                         \
	M(SET_DESTROYED, "0f05679757744969b730891d01038a8b")                                       \
	M(SET_MOVE, "7d7dc1bd65004efeb03c23a84d3d20fa")                                            \
	M(NUMBER, "9da743e1a92c4e0db9a22294ec175294")                                              \
	M(BOUND, "212f78f7d9294aed9dc2f477dc1c323e")                                               \
	M(UNBOUND, "c8b4acfea13d46a0a62439fb63ebe309")                                             \
	M(REPLACED, "ff431e310b794002b8eb0891a9045bce")                                            \
	M(BINDING_LOST, "5c583f178fbc48598734ed16c60ceb7d")                                        \
	M(BINDING_TAINTED, "aca4db9e345146dc88e47573c93830bb")                                     \
	M(UNACKNOWLEDGED, "47723b7a740d414e92dd077fe5d7d121")                                      \
	M(DEVICE_ADDED, "fd64af7cc9264f2c982883c04859a469")                                        \
	M(DEVICE_REMOVED, "4aa3d24fabbf48eaa7d7aac3f96bd632")                                      \
	M(DEVICE_TAINTED, "7b570bedc0304acca1907b1af7969f2c")                                      \
	M(DEVICE_HEALED, "9d2e8569892648bbac7a5991d610c570")                                       \
	M(WORKER_LOST, "d2ba227aab7b4f41a34e5616dde065f5")                                         \
	M(UNCONFIRMED, "14559e964ef746e39b67325294517715")                                         \
	M(CONFIRMED, "9f01abaf75824536acc2be76084bb545")                                           \
	M(REFUSED, "c08d8f1b8d4c4399a602c96b141c5ae4")                                             \
	M(LEFT_OUT, "cfad1b3f6ba34883a935a3f9b109a45e")                                            \
	M(AUDIT_MISSED, "1f03786e7b9d417fae19dcd58a056d09")

enum log_message {
	LOG_MESSAGE_NONE = 0,
#define M(name, id) LOG_MESSAGE_##name,
	LOG_MESSAGES(M)
#undef M
		LOG_MESSAGE_COUNT
};

#endif
