"""The JSON on either side: strict reading of requests, writing of decisions."""
