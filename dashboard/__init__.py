"""The dashboard: pages in Streamlit that ask the REST API, and nothing else, for what they show."""
