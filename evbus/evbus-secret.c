/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gio/gio.h>

#include "evbus-error.h"
#include "evbus-nearest-private.h"
#include "evbus-secret-private.h"

#define MAX_SECRET_BYTES (64 * 1024)

typedef struct {
  char  *text;   /* NUL-terminated */
  gsize  length;
} Secret;

typedef gboolean (* ReadFunc)  (const char  *name,
                                Secret      *secret,
                                GError     **error);

static gboolean read_file       (const char *name, Secret *secret, GError **error);
static gboolean read_env        (const char *name, Secret *secret, GError **error);
static gboolean read_credential (const char *name, Secret *secret, GError **error);

static const struct {
  const char *key;
  ReadFunc    read;   /* NULL: the keyring, which takes attributes instead of a name */
} sources[] = {
  { "file", read_file },
  { "env", read_env },
  { "credential", read_credential },
  { "keyring", NULL },
};

static const char * const source_keys[] = { "file", "env", "credential", "keyring", NULL };

#define FORMS "{file: PATH}, {env: NAME}, {credential: NAME} or {keyring: {ATTRIBUTE: VALUE}}"

static int
find_source (const char *key)
{
  for (guint i = 0; i < G_N_ELEMENTS (sources); i++)
    if (strcmp (sources[i].key, key) == 0)
      return i;
  return -1;
}

static gboolean
is_reference_node (const EvbusNode *node)
{
  return node->kind == EVBUS_NODE_MAPPING && node->keys->len == 1
         && find_source (((EvbusNode *) g_ptr_array_index (node->keys, 0))->text) >= 0;
}

static const char *
name_problem (const char *key,
              const char *name)
{
  if (*name == '\0')
    return "must not be empty";
  if (strcmp (key, "file") == 0 && !g_path_is_absolute (name))
    return "must be an absolute path";
  if (strcmp (key, "credential") == 0 && (strchr (name, '/') != NULL || *name == '.'))
    return "must be the name of a credential, without a path";
  return NULL;
}

static gboolean
check_attributes (const char      *name,
                  const EvbusNode *attributes,
                  EvbusReport     *report)
{
  if (attributes->kind != EVBUS_NODE_MAPPING || attributes->keys->len == 0)
    {
      evbus_report_error (report, &attributes->place, "'%s.keyring' must be the attributes that the secret is "
                          "stored under, as in {keyring: {service: shop, user: evbus}}", name);
      return FALSE;
    }
  for (guint i = 0; i < attributes->keys->len; i++)
    {
      const EvbusNode *key = g_ptr_array_index (attributes->keys, i);
      const EvbusNode *value = g_ptr_array_index (attributes->values, i);

      if (value->kind != EVBUS_NODE_STRING)
        {
          evbus_report_error (report, &value->place, "'%s.keyring.%s' must be a text%s", name, key->text,
                              value->text != NULL ? "; put it into quotes" : "");
          return FALSE;
        }
    }
#ifdef EVBUS_HAVE_LIBSECRET
  return TRUE;
#else
  evbus_report_error (report, &attributes->place, "'%s': this evbus was built without libsecret and reads no secrets "
                      "from the keyring; use {file: PATH}, {env: NAME} or {credential: NAME}", name);
  return FALSE;
#endif
}

static gboolean
check_name (const char      *name,
            const char      *key,
            const EvbusNode *value,
            EvbusReport     *report)
{
  const char *problem;

  if (value->kind != EVBUS_NODE_STRING)
    {
      evbus_report_error (report, &value->place, "'%s.%s' must be a text", name, key);
      return FALSE;
    }
  problem = name_problem (key, value->text);
  if (problem != NULL)
    evbus_report_error (report, &value->place, "'%s.%s' %s, not '%s'", name, key, problem, value->text);
  return problem == NULL;
}

GVariant *
evbus_secret_check_reference (const char      *name,
                              const EvbusNode *node,
                              EvbusReport     *report)
{
  const EvbusNode *key = node->keys->len > 0 ? g_ptr_array_index (node->keys, 0) : NULL;
  const EvbusNode *value = key != NULL ? g_ptr_array_index (node->values, 0) : NULL;
  gboolean fine;
  int source;

  if (node->keys->len != 1)
    {
      evbus_report_error (report, &node->place, "'%s' refers to a secret by one key: " FORMS, name);
      return NULL;
    }
  source = find_source (key->text);
  if (source < 0)
    {
      g_autofree char *hint = evbus_nearest_hint (key->text, source_keys);

      /* Not what stands there: "{secret}" is a mapping with that key. */
      evbus_report_error (report, &key->place, "'%s' refers to a secret by 'file', 'env', 'credential' or 'keyring'%s",
                          name, hint);
      return NULL;
    }
  fine = sources[source].read != NULL ? check_name (name, key->text, value, report)
                                      : check_attributes (name, value, report);
  return fine ? evbus_node_to_variant (node) : NULL;
}

/* In a mapping of many values, those that are likely to be the secrets. */
static gboolean
sounds_secret (const char *key)
{
  static const char * const words[] = {
    "pass", "secret", "token", "authorization", "cookie", "apikey", "api_key", "api-key", NULL
  };
  g_autofree char *lower = g_ascii_strdown (key, -1);

  for (gsize i = 0; words[i] != NULL; i++)
    if (strstr (lower, words[i]) != NULL)
      return TRUE;
  return FALSE;
}

/* As PEM has it, whatever the key is called. */
static gboolean
is_private_key (const char *text)
{
  return strstr (text, "PRIVATE KEY-----") != NULL;
}

static void
warn_inline (const char      *name,
             const EvbusNode *node,
             EvbusReport     *report)
{
  /* Made in code: then the program has it from somewhere. */
  if (node->place.file != NULL)
    evbus_report_warning (report, &node->place, "the secret '%s' stands in the file; better refer to it: " FORMS, name);
}

gboolean
evbus_secret_check_inline (const char      *name,
                           const EvbusNode *node,
                           EvbusReport     *report)
{
  gboolean fine = TRUE;

  if (node->text != NULL)
    {
      warn_inline (name, node, report);
      return TRUE;
    }
  if (is_reference_node (node))
    {
      g_autoptr(GVariant) reference = evbus_secret_check_reference (name, node, report);

      if (reference != NULL)
        g_variant_ref_sink (reference);
      return reference != NULL;
    }
  for (guint i = 0; node->values != NULL && i < node->values->len; i++)
    {
      const EvbusNode *key = node->keys != NULL ? g_ptr_array_index (node->keys, i) : NULL;
      g_autofree char *path = key != NULL ? g_strdup_printf ("%s.%s", name, key->text) : g_strdup (name);

      fine = evbus_secret_check_member (path, key != NULL ? key->text : NULL,
                                        g_ptr_array_index (node->values, i), report) && fine;
    }
  return fine;
}

gboolean
evbus_secret_check_member (const char      *name,
                           const char      *key,
                           const EvbusNode *value,
                           EvbusReport     *report)
{
  if (value->text != NULL && (key == NULL || !sounds_secret (key)) && !is_private_key (value->text))
    return TRUE;
  return evbus_secret_check_inline (name, value, report);
}

static gboolean
are_attributes (GVariant *value)
{
  GVariantIter iter;
  GVariant *inner;

  if (!g_variant_is_of_type (value, G_VARIANT_TYPE_VARDICT))
    return FALSE;
  g_variant_iter_init (&iter, value);
  while (g_variant_iter_next (&iter, "{sv}", NULL, &inner))
    {
      gboolean text = g_variant_is_of_type (inner, G_VARIANT_TYPE_STRING);

      g_variant_unref (inner);
      if (!text)
        return FALSE;
    }
  return TRUE;
}

gboolean
evbus_secret_is_reference (GVariant *value)
{
  g_autoptr(GVariant) inner = NULL;
  const char *key;
  int source;

  if (!g_variant_is_of_type (value, G_VARIANT_TYPE_VARDICT) || g_variant_n_children (value) != 1)
    return FALSE;
  g_variant_get_child (value, 0, "{&sv}", &key, &inner);
  source = find_source (key);
  if (source < 0)
    return FALSE;
  return sources[source].read != NULL ? g_variant_is_of_type (inner, G_VARIANT_TYPE_STRING)
                                      : are_attributes (inner);
}

gboolean
evbus_secret_has_reference (GVariant *value)
{
  gsize n = g_variant_is_container (value) ? g_variant_n_children (value) : 0;

  if (evbus_secret_is_reference (value))
    return TRUE;
  for (gsize i = 0; i < n; i++)
    {
      g_autoptr(GVariant) inner = g_variant_get_child_value (value, i);

      if (evbus_secret_has_reference (inner))
        return TRUE;
    }
  return FALSE;
}

/* Not g_file_get_contents(), which leaves copies of what it read behind and
 * has no bound. */
static gboolean
read_file (const char  *name,
           Secret      *secret,
           GError     **error)
{
  int fd = open (name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  struct stat info;
  ssize_t got = -1;

  if (fd < 0)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "cannot open '%s': %s", name, g_strerror (errno));
      return FALSE;
    }
  if (fstat (fd, &info) < 0 || !S_ISREG (info.st_mode))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'%s' is not a file", name);
      close (fd);
      return FALSE;
    }

  secret->text = g_malloc0 (MAX_SECRET_BYTES + 2);
  do
    {
      got = read (fd, secret->text + secret->length, MAX_SECRET_BYTES + 1 - secret->length);
      if (got > 0)
        secret->length += got;
    }
  while (got > 0 || (got < 0 && errno == EINTR));
  if (got < 0)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "cannot read '%s': %s", name, g_strerror (errno));
  else if (secret->length > MAX_SECRET_BYTES)
    {
      got = -1;
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'%s' is larger than %d bytes", name, MAX_SECRET_BYTES);
    }
  close (fd);
  return got >= 0;
}

static gboolean
read_env (const char  *name,
          Secret      *secret,
          GError     **error)
{
  const char *value = g_getenv (name);

  if (value == NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "the environment variable %s is not set", name);
      return FALSE;
    }
  secret->text = g_strdup (value);
  secret->length = strlen (value);
  return TRUE;
}

static gboolean
read_credential (const char  *name,
                 Secret      *secret,
                 GError     **error)
{
  const char *folder = g_getenv ("CREDENTIALS_DIRECTORY");
  g_autofree char *path = NULL;

  if (folder == NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                   "there is no credential '%s': CREDENTIALS_DIRECTORY is not set, which systemd does "
                   "for a service with LoadCredential=", name);
      return FALSE;
    }
  path = g_build_filename (folder, name, NULL);
  return read_file (path, secret, error);
}

static void
wipe_buffer (gpointer data)
{
  gsize *block = data;

  explicit_bzero (block + 2, block[0]);
  g_free (block);
}

GVariant *
evbus_secret_seal (GVariant *value)
{
  gsize size = g_variant_get_size (value);
  /* The length in front, since the free function gets but one pointer; two
   * words keep the alignment that GVariant wants. */
  gsize *block = g_malloc0 (2 * sizeof (gsize) + size);

  block[0] = size;
  g_variant_store (value, block + 2);
  return g_variant_ref_sink (g_variant_new_from_data (g_variant_get_type (value), block + 2, size, TRUE,
                                                      wipe_buffer, block));
}

static void
chop_newline (Secret *secret)
{
  if (secret->length > 0 && secret->text[secret->length - 1] == '\n')
    secret->text[--secret->length] = '\0';
  if (secret->length > 0 && secret->text[secret->length - 1] == '\r')
    secret->text[--secret->length] = '\0';
}

static GVariant *
text_to_variant (Secret  *secret,
                 GError **error)
{
  if (secret->length == 0)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "the secret is empty");
  else if (!g_utf8_validate_len (secret->text, secret->length, NULL))
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "the secret is not UTF-8 text");
  else
    {
      gsize *block = g_malloc0 (2 * sizeof (gsize) + secret->length + 1);

      block[0] = secret->length + 1;
      memcpy (block + 2, secret->text, secret->length);
      return g_variant_ref_sink (g_variant_new_from_data (G_VARIANT_TYPE_STRING, block + 2, block[0], TRUE,
                                                          wipe_buffer, block));
    }
  return NULL;
}

/* As it was written. */
static char *
describe (const char *key,
          GVariant   *inner)
{
  g_autoptr(GString) text = g_string_new (NULL);
  GVariantIter iter;
  const char *name;
  GVariant *value;

  if (g_variant_is_of_type (inner, G_VARIANT_TYPE_STRING))
    return g_strdup_printf ("{%s: %s}", key, g_variant_get_string (inner, NULL));

  g_variant_iter_init (&iter, inner);
  while (g_variant_iter_next (&iter, "{&sv}", &name, &value))
    {
      g_string_append_printf (text, "%s%s: %s", text->len > 0 ? ", " : "", name, g_variant_get_string (value, NULL));
      g_variant_unref (value);
    }
  return g_strdup_printf ("{%s: {%s}}", key, text->str);
}

static gboolean
read_source (const char    *key,
             GVariant      *inner,
             Secret        *secret,
             GCancellable  *cancellable,
             GError       **error)
{
  ReadFunc read_name = sources[find_source (key)].read;

  if (read_name != NULL)
    return read_name (g_variant_get_string (inner, NULL), secret, error);
#ifdef EVBUS_HAVE_LIBSECRET
  secret->text = evbus_secret_read_keyring (inner, &secret->length, cancellable, error);
  return secret->text != NULL;
#else
  g_return_val_if_reached (FALSE);
#endif
}

GVariant *
evbus_secret_resolve (GVariant      *reference,
                      GCancellable  *cancellable,
                      GError       **error)
{
  g_autoptr(GVariant) inner = NULL;
  g_autofree char *shown = NULL;
  GVariant *result = NULL;
  Secret secret = { NULL, 0 };
  const char *key;

  g_return_val_if_fail (evbus_secret_is_reference (reference), NULL);

  g_variant_get_child (reference, 0, "{&sv}", &key, &inner);
  if (read_source (key, inner, &secret, cancellable, error))
    {
      chop_newline (&secret);
      result = text_to_variant (&secret, error);
    }
  if (result == NULL)
    {
      shown = describe (key, inner);
      g_prefix_error (error, "%s: ", shown);
    }
  if (secret.text != NULL)
    explicit_bzero (secret.text, secret.length);
  g_free (secret.text);
  return result;
}
