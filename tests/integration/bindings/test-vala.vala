// SPDX-License-Identifier: LGPL-2.1-or-later
// The library from Vala: put, and consume what an internal route delivers.

Evbus.Broker broker;
Evbus.Route route;

void set_up () {
  try {
    broker = new Evbus.Broker ();
    route = broker.add_route ("internal", "*", null);
    broker.start ();
  } catch (Error error) {
    GLib.error ("%s", error.message);
  }
}

void tear_down () {
  var loop = new MainLoop ();
  broker.stop_async.begin (null, (source, result) => {
    try {
      assert_true (broker.stop_async.end (result));
    } catch (Error error) {
      GLib.error ("%s", error.message);
    }
    loop.quit ();
  });
  loop.run ();

  var ledger = broker.get_ledger ();
  assert_true (ledger.balances ());
  assert_true (ledger.queued == 0);
  route = null;
  broker = null;
}

Variant make_body () {
  var builder = new VariantBuilder (VariantType.VARDICT);
  builder.add ("{sv}", "id", new Variant.int32 (42));
  return builder.end ();
}

// A body does not end with a NUL byte.
string text_of (Evbus.Event event) {
  unowned uint8[] data = event.get_body ().get_data ();
  return ((string) data).substring (0, data.length);
}

void test_put_nowait () {
  try {
    var id = broker.put_nowait ("order.created", make_body (), "orders");
    var event = route.get_mailbox ().@get (null, null);
    assert_cmpstr (event.get_id (), CompareOperator.EQ, id);
    assert_cmpstr (event.get_routing_key (), CompareOperator.EQ, "order.created");
    assert_cmpstr (event.get_profile (), CompareOperator.EQ, "orders");
    assert_cmpstr (text_of (event), CompareOperator.EQ, "{\"id\":42}");
  } catch (Error error) {
    GLib.error ("%s", error.message);
  }
}

async void put_and_get (MainLoop loop) {
  try {
    var id = yield broker.put_async ("order.created", make_body (), null, null);
    var event = yield route.get_mailbox ().get_async (null, null);
    assert_cmpstr (event.get_id (), CompareOperator.EQ, id);
    assert_cmpstr (event.get_profile (), CompareOperator.EQ, "default");
  } catch (Error error) {
    GLib.error ("%s", error.message);
  }
  loop.quit ();
}

void test_put_async () {
  var loop = new MainLoop ();
  put_and_get.begin (loop);
  loop.run ();
}

void test_lists () {
  try {
    var explanations = broker.explain ("orders");
    assert_true (explanations.length == 1);
    assert_true (explanations[0].get_matches ());
    assert_true (explanations[0].get_route () == route);

    broker.put_nowait ("first", make_body (), null);
    broker.put_nowait ("second", make_body (), null);
    while (route.get_mailbox ().get_length () < 2)
      Thread.yield ();
    var events = route.get_mailbox ().try_get_many (null, 10);
    assert_true (events.length == 2);
    assert_cmpstr (events[1].get_routing_key (), CompareOperator.EQ, "second");
  } catch (Error error) {
    GLib.error ("%s", error.message);
  }
}

void test_error () {
  try {
    broker.put_nowait ("", make_body (), null);
    assert_not_reached ();
  } catch (Evbus.Error.INVALID_ARGUMENT error) {
    assert_true (error.message != "");
  } catch (Error error) {
    GLib.error ("%s", error.message);
  }
}

delegate void Body ();

void add (string path, owned Body body) {
  Test.add_data_func (path, () => {
    set_up ();
    body ();
    tear_down ();
  });
}

int main (string[] arguments) {
  Test.init (ref arguments);
  add ("/vala/put-nowait", test_put_nowait);
  add ("/vala/put-async", test_put_async);
  add ("/vala/lists", test_lists);
  add ("/vala/error", test_error);
  return Test.run ();
}
