// SPDX-License-Identifier: LGPL-2.1-or-later
// The library from GJS: put, and consume what an internal route delivers.

import Evbus from 'gi://Evbus?version=1';
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import system from 'system';

Gio._promisify(Evbus.Broker.prototype, 'stop_async', 'stop_finish');
Gio._promisify(Evbus.Mailbox.prototype, 'get_async', 'get_finish');

const BODY = new GLib.Variant('a{sv}', {id: new GLib.Variant('i', 42)});
const DEADLINE_SECONDS = 60;

function equal(actual, expected, what) {
    if (actual !== expected)
        throw new Error(`${what}: ${actual} instead of ${expected}`);
}

function ledgerOf(owner) {
    const ledger = owner.get_ledger();
    equal(ledger.balances(), true, 'the ledger balances');
    return ledger;
}

async function withRoute(use) {
    const broker = new Evbus.Broker();
    const route = broker.add_route('internal', '*', null);
    broker.start();
    await use(broker, route);
    await broker.stop_async(null);
    equal(ledgerOf(broker).queued, 0, 'queued after the stop');
}

const tests = {
    async 'put_nowait arrives'() {
        await withRoute(async (broker, route) => {
            const id = broker.put_nowait('order.created', BODY, 'orders');
            const event = await route.get_mailbox().get_async(null, null);
            equal(event.get_id(), id, 'id');
            equal(event.get_routing_key(), 'order.created', 'routing key');
            equal(event.get_profile(), 'orders', 'profile');
            const text = new TextDecoder().decode(event.get_body().get_data());
            equal(text, '{"id":42}', 'body');
            equal(ledgerOf(route).accepted, 1, 'accepted');
        });
    },

    async 'a get waits for its routing key'() {
        await withRoute(async (broker, route) => {
            const promise = route.get_mailbox().get_async('paid', null);
            broker.put_nowait('created', BODY, null);
            broker.put_nowait('paid', BODY, null);
            equal((await promise).get_routing_key(), 'paid', 'routing key');
            const other = await route.get_mailbox().get_async(null, null);
            equal(other.get_routing_key(), 'created', 'routing key of the other');
            equal(other.get_profile(), 'default', 'profile of a put that names none');
        });
    },

    async 'lists of objects and of events'() {
        await withRoute(async (broker, route) => {
            const explanations = broker.explain('orders');
            equal(explanations.length, 1, 'explanations');
            equal(explanations[0].get_route(), route, 'route');
            equal(explanations[0].get_matches(), true, 'matches');

            const mailbox = route.get_mailbox();
            for (const key of ['first', 'second', 'third'])
                broker.put_nowait(key, BODY, null);
            // They are there in order: once the first is, some more may be.
            const keys = [(await mailbox.get_async(null, null)).get_routing_key()];
            while (keys.length < 3)
                keys.push(...mailbox.try_get_many(null, 10).map(event => event.get_routing_key()));
            system.gc();
            equal(keys.join(), 'first,second,third', 'routing keys');
        });
    },

    async 'a wrong put throws the library\'s error'() {
        await withRoute(broker => {
            try {
                broker.put_nowait('', BODY, null);
            } catch (error) {
                equal(error.matches(Evbus.Error, Evbus.Error.INVALID_ARGUMENT), true, 'the error');
                return;
            }
            throw new Error('an empty routing key was taken');
        });
    },
};

async function main() {
    const names = Object.keys(tests);
    let failed = 0;
    print(`1..${names.length}`);
    for (const [index, name] of names.entries()) {
        try {
            // One after the other: each is a line of its own.
            // eslint-disable-next-line no-await-in-loop
            await tests[name]();
            print(`ok ${index + 1} ${name}`);
        } catch (error) {
            failed++;
            print(`# ${error}\n# ${String(error.stack).replaceAll('\n', '\n# ')}`);
            print(`not ok ${index + 1} ${name}`);
        }
    }
    return failed;
}

const loop = new GLib.MainLoop(null, false);
let status = 1;
GLib.timeout_add_seconds(GLib.PRIORITY_DEFAULT, DEADLINE_SECONDS, () => {
    print(`Bail out! not done within ${DEADLINE_SECONDS} s`);
    loop.quit();
    return GLib.SOURCE_REMOVE;
});
main().then(failed => {
    status = failed ? 1 : 0;
}).finally(() => loop.quit());
loop.run();
system.exit(status);
