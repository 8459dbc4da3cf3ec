/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-node-private.h"

G_BEGIN_DECLS

/* A secret by reference is a mapping of one key: {file: PATH}, {env: NAME},
 * {credential: NAME} or {keyring: {ATTRIBUTE: VALUE, …}}. */

/* Checks @node as a reference given for the option @name; a{sv}, floating, or
 * NULL after an error. */
GVariant *evbus_secret_check_reference (const char      *name,
                                        const EvbusNode *node,
                                        EvbusReport     *report);

/* Checks a value of a secret option: warns where the secret itself stands in
 * it, and refuses wrong references inside mappings and lists. */
gboolean  evbus_secret_check_inline    (const char      *name,
                                        const EvbusNode *node,
                                        EvbusReport     *report);

/* The same for the value of one @key of a secret mapping: not each key of such
 * a mapping holds a secret. */
gboolean  evbus_secret_check_member    (const char      *name,
                                        const char      *key,
                                        const EvbusNode *value,
                                        EvbusReport     *report);

gboolean  evbus_secret_is_reference    (GVariant        *value);

/* The same, or anything inside of it. */
gboolean  evbus_secret_has_reference   (GVariant        *value);

/* The text that @reference stands for, as a GVariant whose memory is cleared
 * when it is freed. It may wait: for a file, and for a person who unlocks the
 * keyring. EVBUS_ERROR_BROKEN names the reference. */
GVariant *evbus_secret_resolve         (GVariant        *reference,
                                        GCancellable    *cancellable,
                                        GError         **error);

/* What the keyring of the session has under @attributes, a{sv} of texts, in
 * memory that the caller clears. Only in a build with libsecret. */
char     *evbus_secret_read_keyring    (GVariant        *attributes,
                                        gsize           *length,
                                        GCancellable    *cancellable,
                                        GError         **error);

/* A copy of @value in memory that is cleared when it is freed. */
GVariant *evbus_secret_seal            (GVariant        *value);

G_END_DECLS
