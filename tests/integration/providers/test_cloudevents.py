# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes out as a CloudEvent is one."""

import base64
import datetime
import json
import pathlib
import re

import jsonschema
import pytest

PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'


# The examples of the JSON Event Format 1.0.2, section 3.2. What is null there is not here, which is the same; and in the
# last one the content type is only implied.
OF_ALL = {'specversion': '1.0', 'type': 'com.example.someevent', 'source': '/mycontext', 'time': '2018-04-05T17:31:00Z',
          'comexampleextension1': 'value', 'comexampleothervalue': 5}
APP_INFO = {'appinfoA': 'abc', 'appinfoB': 123, 'appinfoC': True}
BINARY = {'datacontenttype': 'application/vnd.apache.thrift.binary',
          'data_base64': base64.b64encode(bytes(range(256))).decode()}
EXAMPLES = [
    {**OF_ALL, 'id': 'A234-1234-1234', **BINARY},
    {**OF_ALL, 'id': 'B234-1234-1234', 'datacontenttype': 'application/xml', 'data': '<much wow="xml"/>'},
    {**OF_ALL, 'id': 'C234-1234-1234', 'datacontenttype': 'application/json', 'data': APP_INFO},
    {**OF_ALL, 'id': 'D234-1234-1234', 'datacontenttype': 'application/json', 'data': "I'm just a string"},
]
# That of a batch, section 4.3.
BATCH = [
    {**OF_ALL, 'source': '/mycontext/4', 'id': 'B234-1234-1234', **BINARY},
    {**OF_ALL, 'type': 'com.example.someotherevent', 'source': '/mycontext/9', 'id': 'C234-1234-1234',
     'datacontenttype': 'application/json', 'data': APP_INFO},
]
GIVEN = ('specversion', 'type', 'id', 'time', 'datacontenttype', 'data', 'data_base64')

# The examples of the bindings, in both modes: 1.0.2 of AMQP, HTTP, Kafka and MQTT, and the draft of 1.0.3 of NATS, the first
# with a binary mode. What stands before the name of an attribute, where the content type is, and which it is. (MQTT's
# example repeats it as a user property, which its text does not ask for.) Redis has no binding.
BINDINGS = {
    'amqp': ('cloudEvents:', 'content-type', 'application/json; charset=utf-8'),
    'http': ('ce-', 'content-type', 'application/json; charset=utf-8'),
    'kafka': ('ce_', 'content-type', 'application/avro'),
    'mqtt': ('', 'content-type', 'application/json; charset=utf-8'),
    'nats': ('ce-', 'ce-datacontenttype', 'application/json'),
}
BOUND = {'specversion': '1.0', 'type': 'com.example.someevent', 'id': '1234-1234-1234', 'source': '/mycontext/subcontext'}


# What each format of the schemas has to let pass, and to refuse.
FORMATS = {
    'uri-reference': (['/shop', '//shop', 'urn:shop:1', '1-555-123-4567'], ['my shop', 'shöp', '/a[1]', '1:shop', '/%zz']),
    'uri': (['https://example.com/a#b', 'urn:shop:1'], ['/shop', 'a b', 'https://exa mple.com']),
    'date-time': (['2018-04-05T17:31:00Z', '2018-04-05T17:31:00.123456+01:00'],
                  ['2018-04-05', '2018-13-05T17:31:00Z', '2018-04-05T17:31:00', '2018-04-05 17:31:00Z']),
}
formats = jsonschema.FormatChecker(['uri', 'uri-reference'])


@formats.checks('date-time', ValueError)
def is_time(value):
    datetime.datetime.fromisoformat(value.replace('Z', '+00:00'))
    return re.fullmatch(r'[-\d]{10}T[:\d]{8}(\.\d+)?(Z|[+-]\d\d:\d\d)', value)


def formats_in(schema):
    """All that a schema names anywhere."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
    own = {schema['format']} if isinstance(schema, dict) and isinstance(schema.get('format'), str) else set()
    return own.union(*map(formats_in, inner))


class Validator:
    """The specification's own schema, and the stricter one."""

    def __init__(self):
        folder = pathlib.Path(__file__).parent / 'cloudevents'
        self.schemas = [json.loads((folder / name).read_text()) for name in ('cloudevents.json', 'stricter.json')]
        for schema in self.schemas:
            jsonschema.Draft7Validator.check_schema(schema)

    def validate(self, event):
        for schema in self.schemas:
            jsonschema.Draft7Validator(schema, format_checker=formats).validate(event)


@pytest.fixture
def validator():
    return Validator()


def test_the_formats_are_checked(validator):
    """A checker that is not installed would let everything pass."""
    for schema in validator.schemas:
        assert formats_in(schema) <= set(FORMATS)
    for name, (good, bad) in FORMATS.items():
        assert [value for value in good + bad if formats.conforms(value, name)] == good
    event = {'specversion': '1.0', 'id': '1', 'type': 'a', 'source': '/shop'}
    validator.validate(event)
    for wrong in ({'source': 'my shop'}, {'dataschema': 'a b'}, {'time': 'noon'}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate({**event, **wrong})


def as_json(event, mode):
    """What was received, as an event in the JSON format; and the content type of its data."""
    if mode == 'structured':
        assert event.content_type == 'application/cloudevents+json; charset=utf-8'
        return json.loads(event.body)
    return {**event.headers, 'datacontenttype': event.content_type,
            'data_base64': base64.b64encode(event.body).decode()}


def data_of(event):
    return base64.b64decode(event['data_base64']) if 'data_base64' in event else event['data']


@pytest.mark.parametrize('mode', ['binary', 'structured'])
def test_cloudevents(trial, adaptor, validator, mode):
    if mode not in adaptor.cloudevents:
        assert mode == 'binary', 'every provider has the structured mode'
        return
    trial.start({**adaptor.options(trial.destination), 'cloudevents': mode, 'cloudevents_source': '/shop'})
    trial.put(1)
    trial.put_bytes(b'\0\xff', traceparent=PARENT, subject='42', source='/other', dataschema='urn:shop:1')
    trial.put_bytes(b'no URIs', source='my shop', dataschema='v1', subject='43')
    trial.wait_delivered()
    received = trial.received()
    # Whoever follows messages knows nothing of CloudEvents.
    assert received[1].headers['traceparent'] == PARENT
    events = [as_json(event, mode) for event in received]
    for event, (event_id, data) in zip(events, trial.sent, strict=True):
        validator.validate(event)
        assert (event['id'], event['type'], event['specversion']) == (event_id, 'order.created', '1.0')
        found = data_of(event)
        assert found == data or found == json.loads(data)
    assert events[0]['source'] == '/shop' and events[0]['datacontenttype'] == 'application/json'
    assert (events[1]['source'], events[1]['traceparent'], events[1]['subject']) == ('/other', PARENT, '42')
    assert events[1]['datacontenttype'] == 'application/octet-stream' and events[1]['dataschema'] == 'urn:shop:1'
    assert events[2]['source'] == '/shop' and 'dataschema' not in events[2] and events[2]['subject'] == '43'


def bytes_of(event):
    data = data_of(event)
    if isinstance(data, bytes):
        return data
    return (json.dumps(data) if 'json' in event['datacontenttype'] else data).encode()


def put_example(trial, example):
    """But for the time, which is that of the put; and an attribute is a text, whatever it was."""
    attributes = {name: str(value) for name, value in example.items() if name not in GIVEN}
    trial.put_bytes(bytes_of(example), example['datacontenttype'], example['type'], example['id'], **attributes)


def assert_example(event, example):
    ours, theirs = bytes_of(event), bytes_of(example)
    assert ours == theirs or json.loads(ours) == json.loads(theirs)
    for name in set(example) - {'time', 'data', 'data_base64'}:
        assert event[name] == str(example[name])


def assert_bound(wire, binding, mode):
    """Attributes stand where the binding has them, and no others beside them."""
    prefix, place, content_type = binding
    if mode == 'structured':
        assert wire['content-type'].lower() == 'application/cloudevents+json; charset=utf-8'
        return
    expected = {**{prefix + name: value for name, value in BOUND.items()}, place: content_type}
    assert expected.items() <= wire.items()
    assert {name for name in wire if name.startswith(prefix)} | {place} == {*expected, prefix + 'time'}
    assert formats.conforms(wire[prefix + 'time'], 'date-time')


@pytest.mark.parametrize('mode', ['binary', 'structured'])
def test_the_examples_of_the_specification(trial, adaptor, validator, mode):
    if mode not in adaptor.cloudevents:
        return
    examples = list(EXAMPLES)
    binding = BINDINGS.get(adaptor.name)
    if binding is not None:
        examples.append({**BOUND, 'datacontenttype': binding[2], 'data_base64': base64.b64encode(b'{"a": 1}').decode()})
    trial.start({**adaptor.options(trial.destination), 'cloudevents': mode})
    for example in examples:
        validator.validate(example)
        put_example(trial, example)
    trial.wait_delivered()
    received = trial.received()
    for example, event in zip(examples, received, strict=True):
        event = as_json(event, mode)
        validator.validate(event)
        assert_example(event, example)
    if binding is not None:
        assert_bound(received[-1].wire, binding, mode)


def test_the_batch_of_the_specification(trial, adaptor, validator):
    """Of the bindings HTTP's alone has batches."""
    if 'batch' not in adaptor.sharing:
        return
    trial.start({**adaptor.options(trial.destination), **adaptor.sharing, 'cloudevents_source': '/other'},
                delivery={'batch': {'events': 2, 'linger': '10s'}})
    for example in BATCH:
        validator.validate(example)
        put_example(trial, example)
    trial.wait_delivered()
    (request,) = adaptor.records(trial.destination)
    assert request['headers']['content-type'] == 'application/cloudevents-batch+json; charset=utf-8'
    for event, example in zip(json.loads(request['body']), BATCH, strict=True):
        validator.validate(event)
        assert_example(event, example)


def test_the_id_and_the_trace_go_along_without(trial, adaptor):
    trial.start()
    event_id = trial.put_bytes(b'x', 'text/plain', traceparent=PARENT)
    trial.wait_delivered()
    (event,) = trial.received()
    assert event.body == b'x'
    if adaptor.carries_id:
        assert event.id == event_id
        assert event.headers['traceparent'] == PARENT
        assert event.content_type == 'text/plain'
