"""What a Prometheus textfile says."""

from prometheus_client.parser import text_string_to_metric_families


def parsed(text):
    """Every sample of a textfile: name and labels to value."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
